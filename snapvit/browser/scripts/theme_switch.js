// A button that turns the page light or dark: Streamlit's own switch is in the menu that our pages hide.

import { themePlaces } from "./private_names.js";
import { isDark } from "./theme.js";

const OPTION = "embed_options"; // of an address, Streamlit's own; where it names a theme, it has the last word

export default function ({ data, parentElement }) {
  const button = parentElement.querySelector("button");
  button.textContent = "Light / dark";
  button.onclick = () => {
    const theme = isDark(button) ? "Light" : "Dark";
    for (const place of themePlaces(data.pages)) localStorage.setItem(place, JSON.stringify(theme));
    const address = new URL(window.location.href);
    for (const name of ["light_theme", "dark_theme"]) address.searchParams.delete(OPTION, name);
    if (address.href === window.location.href) window.location.reload();
    else window.location.replace(address);
  };
}
