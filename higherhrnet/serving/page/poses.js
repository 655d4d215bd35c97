// Draws poses as SVG shapes over an image, and saves them as files.

// The colors of higherhrnet/visualization/poses.py, so that the page and POST /image agree.
const LEFT = "rgb(48 140 255)", RIGHT = "rgb(255 140 0)", MIDDLE = "rgb(236 236 236)";
const OUTLINE = "rgb(16 16 20)";
const PEOPLE = [
  "rgb(255 225 60)", "rgb(214 44 160)", "rgb(60 214 120)", "rgb(226 40 54)", "rgb(170 240 240)",
  "rgb(126 60 220)", "rgb(200 240 40)", "rgb(255 160 200)", "rgb(0 128 110)", "rgb(190 170 255)",
];

/** The longer side of a person's box in pixels. */
export const personSize = (person) => Math.max(person.bbox[2], person.bbox[3]);
export const personColor = (person) => PEOPLE[(person.id - 1) % PEOPLE.length];
export const displayName = (name) => name.replaceAll("_", " ");

/** Returns the name, position, score and visibility of each keypoint of a person. */
export function keypointsOf(person, category, minScore) {
  return category.keypoints.map((name, k) => {
    const [x, y, score] = person.keypoints.slice(3 * k);
    const visible = score > 0 && score >= minScore;
    return { name, score, x: x + 0.5, y: y + 0.5, visible }; // SVG counts from the pixel's corner
  });
}

/** Returns a person as an SVG group that needs no style sheet, so that it can be saved. */
export function personShape(person, category, minScore, maxWidth, selected) {
  const keypoints = keypointsOf(person, category, minScore);
  const width = Math.min(Math.max(personSize(person) / 60, maxWidth / 3, 1), Math.max(maxWidth, 1));
  const limbs = category.skeleton
    .map((ends) => ends.map((k) => keypoints[k - 1]))
    .filter((ends) => ends.every((end) => end.visible));
  const lines = (lineWidth, stroke) =>
    limbs.map(([a, b]) => svgElement("line", {
      x1: a.x, y1: a.y, x2: b.x, y2: b.y,
      "stroke-width": lineWidth, stroke: stroke ?? limbColor(a.name + b.name),
    }));
  const circles = keypoints.filter((keypoint) => keypoint.visible)
    .map((keypoint) => keypointShape(keypoint, width, personColor(person)));
  const attributes = {
    class: selected ? "person selected" : "person", "stroke-linecap": "round",
    "data-id": person.id, tabindex: 0, role: "button", "aria-pressed": selected,
    "aria-label": `Person ${person.id}, score ${person.score.toFixed(2)}`,
  };
  return svgElement("g", attributes,
    svgElement("g", { class: "halo", opacity: 0.4 }, ...lines(4 * width + 2, personColor(person))),
    svgElement("g", {}, ...lines(1.6 * width + 1, OUTLINE)),
    svgElement("g", {}, ...lines(width)),
    ...circles);
}

function keypointShape({ name, x, y, score }, width, fill) {
  return svgElement("circle", {
    cx: x, cy: y, r: 1.15 * width, fill, stroke: OUTLINE, "stroke-width": width / 3,
    tabindex: -1, role: "img", "data-name": name, "aria-label": `${displayName(name)} ${score.toFixed(2)}`,
  });
}

/** Returns the color of a limb's side of the body, from the names of its keypoints. */
function limbColor(names) {
  const [left, right] = ["left", "right"].map((word) => names.toLowerCase().includes(word));
  return left === right ? MIDDLE : left ? LEFT : RIGHT;
}

function svgElement(name, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** Returns the shapes as an SVG file, optionally with the image below them. */
export function toSvg(shapes, canvas, withImage) {
  const { width, height } = canvas;
  const svg = svgElement("svg", { viewBox: `0 0 ${width} ${height}`, width, height });
  if (withImage) {
    svg.append(svgElement("image", { href: canvas.toDataURL("image/jpeg", 0.92), width, height }));
  }
  svg.append(...[...shapes.children].map((shape) => shape.cloneNode(true)));
  for (const shape of svg.querySelectorAll("[tabindex]")) {
    for (const name of ["tabindex", "role", "aria-pressed"]) shape.removeAttribute(name);
  }
  return new Blob([new XMLSerializer().serializeToString(svg)], { type: "image/svg+xml" });
}

/** Returns the canvas with the shapes drawn on it as a PNG file. */
export async function toPng(shapes, canvas) {
  const { width, height } = canvas;
  const image = new Image(width, height);
  image.src = URL.createObjectURL(toSvg(shapes, canvas, false));
  await image.decode();
  const output = new OffscreenCanvas(width, height);
  const context = output.getContext("2d");
  context.drawImage(canvas, 0, 0);
  context.drawImage(image, 0, 0, width, height);
  URL.revokeObjectURL(image.src);
  return output.convertToBlob({ type: "image/png" });
}
