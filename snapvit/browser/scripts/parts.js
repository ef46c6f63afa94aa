// Hands a part of its data to another component; joining.js takes it there.

import { common } from "./common.js";

export default function ({ data, parentElement }) {
  const { to, name } = data;
  const parts = (common.parts[to] ??= {});
  parts[name] = data.data;
  window.dispatchEvent(new CustomEvent("snapvit-part", { detail: to }));
  const root = parentElement.querySelector("i");
  return () => {
    if (!root.isConnected && parts[name] === data.data) delete parts[name];
  };
}
