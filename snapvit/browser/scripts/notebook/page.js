// A widget's place on a notebook's page: JupyterLab's, VS Code's or Colab's.

// A part of the page inside `el` whose styles reach nothing else, and that no styles of the page reach.
export function isolated(el, html, css) {
  const host = document.createElement("div");
  el.append(host);
  const inside = host.attachShadow({ mode: "open" });
  const style = document.createElement("style");
  style.textContent = css;
  const body = document.createElement("div");
  body.innerHTML = html; // a constant of ours
  inside.append(style, body);
  return inside;
}

// Calls `draw` whenever the page may have turned light or dark; returns what ends that.
export function whenThemeChanges(draw) {
  const observer = new MutationObserver(() => requestAnimationFrame(draw));
  for (const node of [document.documentElement, document.body]) {
    // How JupyterLab (its attribute), VS Code (classes) and Colab (theme) tell; other attributes change at every turn.
    observer.observe(node, { attributes: true, attributeFilter: ["data-jp-theme-name", "class", "theme"] });
  }
  return () => observer.disconnect();
}
