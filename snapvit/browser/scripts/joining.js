// Joins a component's data with parts that come beside it, see parts.js.

import { common } from "./common.js";

const joins = new WeakMap();

// Calls receive(whole data) now and whenever a part is new, once all of `names` are there.
export function joined(root, key, names, data, receive) {
  const join = () => {
    const parts = common.parts[key] ?? {};
    if (names.every((name) => name in parts)) receive(Object.assign({}, data, ...names.map((name) => parts[name])));
  };
  leave(root);
  const heard = (event) => event.detail === key && join();
  window.addEventListener("snapvit-part", heard);
  joins.set(root, heard);
  join();
}

// Ends the joining for this root.
export function leave(root) {
  window.removeEventListener("snapvit-part", joins.get(root));
  joins.delete(root);
}
