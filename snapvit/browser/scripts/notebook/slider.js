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
    const data = JSON.parse(model.get("_data"));
    const draw = () => showLive(root, { ...data, ...model.get("_thumb"), zoomed: false }, tell);
    model.on("change:_thumb", draw);
    const ended = whenThemeChanges(draw);
    draw();
    return () => {
      model.off("change:_thumb", draw);
      ended();
      hideLive(root);
    };
  },
};
