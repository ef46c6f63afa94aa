const KEPT_MS = 10_000; // in which a browser has surely begun to save

// Has the browser save what lies at an address, under a name.
export function download(address, name) {
  const link = document.createElement("a");
  Object.assign(link, { href: address, download: name });
  link.click();
}

export function downloadSvg(text, name) {
  const address = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
  download(address, name);
  setTimeout(() => URL.revokeObjectURL(address), KEPT_MS);
}
