// One for each chart of the page: changes what Python says is different, and tells Python what the person does with it.

import { Watch } from "./chart_watch.js";

const watches = new WeakMap();

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".events");
  let watch = watches.get(root);
  if (!watch) {
    watch = new Watch();
    watches.set(root, watch);
  }
  watch.data = data;
  watch.tell = (name, value) => data.events.includes(name) && setTriggerValue(name, value);
  watch.look();
  // Streamlit also calls this for a render that a newer one overtook, while the component is still on the page.
  return () => {
    if (root.isConnected) return;
    watches.delete(root);
    watch.stop();
  };
}
