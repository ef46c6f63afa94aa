// Thumbnails with words below them. A click tells Python which image it was.

function line(tag, text, kind) {
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
  made.append(picture, line("strong", title), ...lines.map((text) => line("span", text)));
  if (mark) made.append(line("span", mark, `mark ${kind}`));
  if (pick) made.onclick = () => pick(id);
  const item = document.createElement("li");
  item.append(made);
  return item;
}

export default function ({ data, parentElement, setStateValue }) {
  const pick = data.clickable ? (id) => setStateValue("picked", { value: id, time: Date.now() }) : null;
  const board = parentElement.querySelector(".board");
  board.setAttribute("aria-label", data.label);
  board.classList.toggle("small", data.small);
  board.replaceChildren(...data.cards.map((one) => card(one, pick)));
}
