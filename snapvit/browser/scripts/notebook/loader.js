// The one module that a notebook is handed for a widget. It brings in the others: they import one another by relative
// paths, for which a notebook has no address, so each gets one of its own and their imports are pointed there.

const IMPORT = /\bfrom "(\.{1,2}\/[^"]+)"/g;

export default () => {
  let widget;
  return {
    async initialize({ model }) {
      widget = (await imported(model.get("_modules"), model.get("_entry"))).default;
    },
    render: (context) => widget.render(context),
  };
};

// The namespace of the module `entry`. modules: {path: source}; addressOf(source): where it can be imported from.
export async function imported(modules, entry, addressOf = blobOf) {
  const addresses = new Map();
  const address = (path) => {
    if (!(path in modules)) throw new Error(`There is no module ${path}.`);
    if (!addresses.has(path)) {
      const source = modules[path].replace(IMPORT, (_, to) => `from "${address(besides(path, to))}"`);
      addresses.set(path, addressOf(source));
    }
    return addresses.get(path);
  };
  try {
    return await import(address(entry));
  } finally {
    for (const blob of addresses.values()) URL.revokeObjectURL(blob);
  }
}

function besides(path, to) {
  return new URL(to, `file:///${path}`).pathname.slice(1);
}

function blobOf(source) {
  return URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
}
