// The diagram as PNG: the SVG export drawn on a canvas, twice as large for sharp text.
import { say } from "./browser.js";

const SCALE = 2;
const LARGEST = 16384; // pixels a side that browsers draw

export async function savePng(url, name) {
  const image = new Image();
  image.src = url;
  try {
    await image.decode();
  } catch {
    say("The diagram could not be read. Export it as SVG instead.", "bad");
    return;
  }
  const scale = Math.min(SCALE, LARGEST / image.naturalHeight, LARGEST / image.naturalWidth);
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(image.naturalWidth * scale);
  canvas.height = Math.round(image.naturalHeight * scale);
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  canvas.toBlob((blob) => {
    if (!blob) return say("The diagram is too large for a PNG. Export it as SVG instead.", "bad");
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }, "image/png");
}
