// Streamlit keeps the theme that a person chose in its menu, which our pages hide, in the browser's storage, apart for
// each page that was loaded, and reads it when a page is loaded. How it calls it is not public: Streamlit 1.67 does so
// (LocalStore.ACTIVE_THEME in its theme utilities), and tests/browser/test_presenting.py holds it. The public way,
// `embed_options` in the address, is lost on the way to another page; where it is there, it has the last word.

const nameOf = (path) => `stActiveTheme-${path}-v2`;
const THEMES = ["light_theme", "dark_theme"];

export default function ({ data, parentElement }) {
  const button = parentElement.querySelector("button");
  button.onclick = () => {
    const theme = getComputedStyle(button).colorScheme === "dark" ? "Light" : "Dark";
    const address = new URL(window.location.href);
    const at = address.pathname.lastIndexOf("/") + 1;
    for (const page of data.pages) {
      localStorage.setItem(nameOf(address.pathname.slice(0, at) + page), JSON.stringify(theme));
    }
    for (const option of THEMES) address.searchParams.delete("embed_options", option);
    window.location.replace(address);
    if (address.href === window.location.href) window.location.reload();
  };
}
