// Thumbnails with words below them. A click tells Python which image it was.

import { joined, leave } from "./joining.js";

function element(tag, text, kind) {
  const made = document.createElement(tag);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function card({ id, url, title, lines, mark, kind }, pick) {
  const made = document.createElement("button");
  made.type = "button";
  made.dataset.image = id;
  made.title = pick ? `Show image ${id} and its neighbours` : `Image ${id}`;
  made.className = `${kind ? `${kind}-card` : ""} ${pick ? "" : "plain"}`;
  const picture = document.createElement("img");
  picture.alt = `Image ${id}: ${title}`;
  picture.src = url;
  made.append(picture, element("strong", title), ...lines.map((text) => element("span", text)));
  if (mark) made.append(element("span", mark, `mark ${kind}`));
  if (pick) made.onclick = () => pick(id);
  const item = document.createElement("li");
  item.append(made);
  return item;
}

export default function ({ data, parentElement, setStateValue }) {
  const board = parentElement.querySelector(".board");
  joined(board, data.key, ["cards"], data, ({ cards, label, clickable, small }) => {
    const pick = clickable ? (id) => setStateValue("picked", { value: id, time: Date.now() }) : null;
    board.setAttribute("aria-label", label);
    board.classList.toggle("small", small);
    board.replaceChildren(...cards.map((one) => card(one, pick)));
  });
  return () => board.isConnected || leave(board);
}
