// Joins a component's data with parts that come beside it, see parts.js. Python puts this file first.

const joins = new WeakMap();

// Calls receive(whole data) now and whenever a part is new, once all of `names` are there.
function joined(root, key, names, data, receive) {
  const join = () => {
    const parts = window.snapvitParts?.[key] ?? {};
    if (names.every((name) => name in parts)) receive(Object.assign({}, data, ...names.map((name) => parts[name])));
  };
  part(root);
  const heard = (event) => event.detail === key && join();
  window.addEventListener("snapvit-part", heard);
  joins.set(root, heard);
  join();
}

// Ends the joining for this root.
function part(root) {
  window.removeEventListener("snapvit-part", joins.get(root));
  joins.delete(root);
}
