// What components have in common on a page. Each is served under an address of its own, so a module that two of them
// import is loaded twice; what they are to share therefore hangs on the page itself.

export const common = (globalThis.snapvit ??= {
  parts: {}, // {key of a component: {name of a part: its data}}, see parts.js
  stacks: new Map(), // {name: matrices}, see matrix_stack.js
});
