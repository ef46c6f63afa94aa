// The live slider as a widget of a notebook. The thumb is one value that the browser and Python both set; whoever does
// gives it a new turn.

import { hideLive, showLive } from "../live_sparsity/live_sparsity.js";
import { isolated, whenThemeChanges } from "./page.js";

export default {
  render({ model, el }) {
    const root = isolated(el, model.get("_html"), model.get("_css")).querySelector(".live");
    const tell = (name, value) => {
      if (name !== "released") return; // how the curve is looked at is nothing for Python
      model.set("_thumb", { value: value.sparsity, turn: `browser ${value.time}` });
      model.save_changes();
    };
    const draw = () => showLive(root, { ...model.get("_data"), ...model.get("_thumb"), zoomed: false }, tell);
    const news = ["change:_data", "change:_thumb"];
    for (const name of news) model.on(name, draw);
    const ended = whenThemeChanges(draw);
    draw();
    return () => {
      for (const name of news) model.off(name, draw);
      ended();
      hideLive(root);
    };
  },
};
