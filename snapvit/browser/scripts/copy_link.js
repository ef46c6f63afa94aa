// A button that copies the address of the view.

const SAID_MS = 2000;

export default function ({ parentElement }) {
  const button = parentElement.querySelector("button");
  const before = "Copy link to this view";
  button.textContent = before;
  button.onclick = async () => {
    button.textContent = (await copied(window.location.href)) ? "Copied" : "Copy it from the address bar";
    setTimeout(() => (button.textContent = before), SAID_MS);
  };
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
