// One photograph at a time: shown, sent, its people drawn over it as shapes that can be selected.

import { asPng, asSvg, colour, figure, keypointsOf, pretty, size } from "/people.js";

const $ = (id) => document.getElementById(id);
const KINDS = ["image/jpeg", "image/png", "image/webp"];
const LIVE_SIDE = 640; // pixels of a camera picture's longer side; more makes it slower

let about = { flip: false, token: false, max_megabytes: 20 };
let photo = null; // { bitmap, body, name }
let answer = null; // the service's, for this photo
let maps = {}; // view → Image, where the answer has maps
let chosen = null; // id of the selected person
let camera = null; // MediaStream while it runs
let asking = new AbortController();

const leastKeypoint = () => $("least-keypoint").valueAsNumber;
const view = () => document.querySelector("[name=view]:checked").value;
const wait = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

// ---- from a photograph to an answer ------------------------------------------------------------

async function show(blob, name) {
  stopCamera();
  say("");
  try {
    const bitmap = await createImageBitmap(blob);
    const fits = KINDS.includes(blob.type) && blob.size < 1e6 * about.max_megabytes;
    photo = { bitmap, body: fits ? blob : await asJpeg(bitmap), name };
  } catch {
    return say(`${name || "This"} is not a picture that your browser can show. Try a JPEG or a PNG.`);
  }
  answer = chosen = null;
  maps = {};
  render();
  await find();
}

async function find() {
  asking.abort();
  const mine = (asking = new AbortController());
  $("busy").hidden = false;
  try {
    const found = await ask(photo.body, mine.signal);
    const pictures = await loadMaps(found);
    if (!mine.signal.aborted) take(photo, found, pictures);
  } catch (error) {
    if (error.name !== "AbortError") say(error.message);
  } finally {
    if (mine === asking) $("busy").hidden = true;
  }
}

function take(of, found, pictures) {
  if (found.annotations.every((person) => person.id !== chosen)) chosen = null;
  [photo, answer, maps] = [of, found, pictures];
  say("");
  render();
}

/** Posts a photograph, waits while the service is busy, and throws an Error that says why not. */
async function ask(body, signal) {
  const wishes = new URLSearchParams({ flip: $("flip").checked, maps: view() !== "photo" });
  for (;;) {
    const headers = { "content-type": body.type, ...authorisation() };
    const reply = await fetch(`/poses?${wishes}`, { method: "POST", body, headers, signal }).catch(
      (error) => {
        if (error.name === "AbortError") throw error;
        throw new Error("The service does not answer. Is it still running?");
      },
    );
    if (reply.ok) return reply.json();
    const problem = await reply.json().catch(() => ({ detail: `status ${reply.status}` }));
    if (reply.status === 503) {
      const seconds = Number(reply.headers.get("retry-after")) || 2;
      say(`The service has its hands full; next try in ${seconds} s.`);
      await wait(seconds);
      signal.throwIfAborted();
    } else if (reply.status !== 401 || !(await askToken())) {
      throw new Error(`The service could not take this photograph: ${problem.detail}.`);
    }
  }
}

function authorisation() {
  const token = sessionStorage.getItem("token");
  return token ? { authorization: `Bearer ${token}` } : {};
}

async function askToken() {
  $("token").value = "";
  $("ask").showModal();
  await new Promise((closed) => $("ask").addEventListener("close", closed, { once: true }));
  sessionStorage.setItem("token", $("token").value);
  return $("ask").returnValue === "ok";
}

async function loadMaps({ images: [{ maps: urls }] }) {
  if (!urls) return {};
  const load = async (url) => {
    const image = new Image();
    image.src = url;
    await image.decode();
    return image;
  };
  const [heatmaps, tags] = await Promise.all([load(urls.heatmaps), load(urls.tags)]);
  return { heatmaps, tags };
}

function asJpeg(bitmap, scale = 1) {
  const canvas = new OffscreenCanvas(bitmap.width * scale, bitmap.height * scale);
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas.convertToBlob({ type: "image/jpeg", quality: 0.9 });
}

// ---- the camera: pictures one after another, each shown with its own people ----------------------

async function startCamera() {
  if (!navigator.mediaDevices)
    return say("Browsers give a camera only to pages from this machine or over https. Choose a photograph instead.");
  try {
    const video = { facingMode: "environment", width: { ideal: 1280 } };
    camera = await navigator.mediaDevices.getUserMedia({ video });
  } catch (error) {
    const denied = error.name === "NotAllowedError";
    return say(denied ? "The camera was not allowed for this page; your browser's settings can change that."
      : `No camera could be opened: ${error.message || error.name}.`);
  }
  const mine = camera;
  $("camera").textContent = "Stop";
  say("");
  asking.abort();
  asking = new AbortController();
  const video = Object.assign(document.createElement("video"), { srcObject: mine, muted: true, playsInline: true });
  await video.play();
  try {
    for (let last = performance.now(); camera === mine; ) {
      const frame = await createImageBitmap(video);
      const body = await asJpeg(frame, Math.min(1, LIVE_SIDE / Math.max(frame.width, frame.height)));
      const bitmap = await createImageBitmap(body);
      const found = await ask(body, asking.signal);
      const pictures = await loadMaps(found);
      if (camera !== mine) break;
      take({ bitmap, body, name: "camera" }, found, pictures);
      const now = performance.now();
      $("count").textContent += ` · ${(1000 / (now - last)).toFixed(1)} a second`;
      last = now;
    }
  } catch (error) {
    stopCamera();
    if (error.name !== "AbortError") say(error.message);
  }
}

function stopCamera() {
  camera?.getTracks().forEach((track) => track.stop());
  if (camera) asking.abort();
  camera = null;
  $("camera").textContent = "Camera";
}

// ---- drawing ------------------------------------------------------------------------------------

function render() {
  $("empty").hidden = true;
  $("picture").hidden = $("view").disabled = false;
  const { width, height } = photo.bitmap;
  const canvas = $("photo");
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  $("picture").style.setProperty("--aspect", width / height);
  const context = canvas.getContext("2d");
  context.drawImage(photo.bitmap, 0, 0);
  const map = maps[view()];
  if (map) context.drawImage(map, ...answer.images[0].maps.bbox);
  renderPeople();
}

function renderPeople() {
  const { width, height } = photo.bitmap;
  const people = answer ? seenPeople() : [];
  const held = document.activeElement.closest("[data-id]"); // is made anew, so the focus is, too
  const place = held?.closest("#people, #list");
  const svg = $("people");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.classList.toggle("chosen", chosen !== null);
  const drawn = people.toSorted((a, b) => size(b) - size(a)); // small people last, on top
  const widest = Math.sqrt(width * height) / 200;
  svg.replaceChildren(...drawn.map((person) =>
    figure(person, answer.categories[0], leastKeypoint(), widest, person.id === chosen)));
  $("tip").hidden = true;
  $("found").hidden = !answer;
  $("count").textContent = !answer ? "Looking …"
    : people.length === 1 ? "1 person" : `${people.length || "No"} people`;
  $("list").replaceChildren(...people.map(listed));
  renderKeypoints(people.find((person) => person.id === chosen));
  place?.querySelector(`[data-id="${held.dataset.id}"]`)?.focus();
}

function seenPeople() {
  return answer.annotations.filter((person) => person.score >= $("least").valueAsNumber);
}

function listed(person) {
  const item = document.createElement("li");
  const button = Object.assign(document.createElement("button"), { type: "button" });
  const mark = Object.assign(document.createElement("span"), { className: "dot" });
  mark.style.background = colour(person);
  const score = Object.assign(document.createElement("span"), { className: "score", textContent: person.score.toFixed(2) });
  button.append(mark, `Person ${person.id}`, score);
  button.setAttribute("aria-pressed", person.id === chosen);
  button.dataset.id = person.id;
  item.append(button);
  return item;
}

function renderKeypoints(person) {
  $("keypoints").hidden = !person;
  const rows = !person ? [] : keypointsOf(person, answer.categories[0], leastKeypoint()).map(({ name, score, shown }) => {
    const row = document.createElement("tr");
    row.className = shown ? "" : "weak";
    row.dataset.name = name;
    const head = Object.assign(document.createElement("th"), { scope: "row", textContent: pretty(name) });
    const bar = document.createElement("td"), number = document.createElement("td");
    bar.append(Object.assign(document.createElement("meter"), { value: score, ariaLabel: pretty(name) }));
    number.textContent = score ? score.toFixed(2) : "–";
    row.append(head, bar, number);
    return row;
  });
  $("keypoints").querySelector("tbody").replaceChildren(...rows);
}

function say(trouble) {
  $("trouble").textContent = trouble;
  $("trouble").hidden = !trouble;
}

// ---- hands: pointer, keyboard, files ---------------------------------------------------------------

function choose(id) {
  chosen = chosen === id ? null : id;
  renderPeople();
}

/** The keypoint that a pointer is at, or nearly. */
function nearest({ offsetX, offsetY }) {
  const scale = $("people").clientWidth / photo.bitmap.width;
  const away = ({ cx, cy }) => Math.hypot(cx.baseVal.value * scale - offsetX, cy.baseVal.value * scale - offsetY);
  const near = [...$("people").querySelectorAll(chosen ? ".person.chosen circle" : "circle")].map((circle) => [away(circle), circle]);
  const [distance, circle] = near.reduce((a, b) => (b[0] < a[0] ? b : a), [14, null]);
  return distance < 14 ? circle : null;
}

/** Names a keypoint beside it, and marks it in the table. */
function point(circle) {
  for (const marked of document.querySelectorAll(".pointed")) marked.classList.remove("pointed");
  const tip = $("tip");
  tip.hidden = !circle;
  if (!circle) return;
  const [spot, frame] = [circle, $("picture")].map((place) => place.getBoundingClientRect());
  tip.textContent = circle.getAttribute("aria-label");
  const across = spot.x + spot.width / 2 - frame.x;
  const half = tip.offsetWidth / 2;
  tip.style.left = `${Math.min(Math.max(across, half), Math.max(frame.width - half, half))}px`;
  tip.classList.toggle("below", spot.y - frame.y < 40);
  tip.style.top = `${spot.y + spot.height / 2 - frame.y}px`;
  circle.classList.add("pointed");
  if (Number(circle.parentNode.dataset.id) === chosen) {
    $("keypoints").querySelector(`[data-name="${circle.dataset.name}"]`)?.classList.add("pointed");
  }
}

/** Enter selects a person, arrows go along the keypoints, Escape goes back. */
function steer(event) {
  const person = event.target.closest(".person");
  if (!person) return;
  const dots = [...person.querySelectorAll("circle")];
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  const at = dots.indexOf(event.target);
  if (step) dots.at((Math.max(at, step < 0 ? 0 : -1) + step) % dots.length)?.focus();
  else if (event.key === "Enter" || event.key === " ") choose(Number(person.dataset.id));
  else if (event.key === "Escape" && at >= 0) person.focus();
  else if (event.key === "Escape" && chosen) choose(chosen);
  else return;
  event.preventDefault();
}

function save(blob, suffix) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${photo.name.replace(/\.\w+$/, "") || "photograph"}_poses.${suffix}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function saveJson() {
  const images = answer.images.map(({ maps: _, ...image }) => image);
  const people = { ...answer, images, annotations: seenPeople() };
  save(new Blob([JSON.stringify(people, null, 1)], { type: "application/json" }), "json");
}

function takeFile(files) {
  const file = [...files].find((one) => one.type.startsWith("image/"));
  if (file) show(file, file.name);
  else say("That is no picture. Try a JPEG, a PNG or a WebP.");
}

$("file").addEventListener("change", () => $("file").files.length && takeFile($("file").files));
$("file").addEventListener("click", () => ($("file").value = "")); // the same one can be taken again
document.addEventListener("paste", (event) => event.clipboardData.files.length && takeFile(event.clipboardData.files));
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    document.body.classList.toggle("over", kind === "dragover");
    if (kind === "drop") takeFile(event.dataTransfer.files);
  });
}
$("camera").addEventListener("click", () => (camera ? stopCamera() : startCamera()));
$("view").addEventListener("change", () => {
  if (!camera && view() !== "photo" && !maps[view()]) find();
  else if (!camera) render();
});
$("flip").addEventListener("change", () => photo && !camera && find());
for (const id of ["least", "least-keypoint"]) {
  $(id).addEventListener("input", () => {
    $(id).parentNode.querySelector("output").textContent = $(id).valueAsNumber.toFixed(2);
    renderPeople();
  });
}
for (const id of ["people", "list"]) {
  $(id).addEventListener("click", (event) => {
    const person = event.target.closest("[data-id]");
    if (person) choose(Number(person.dataset.id));
  });
}
$("people").addEventListener("keydown", steer);
$("people").addEventListener("pointermove", (event) => point(nearest(event)));
$("people").addEventListener("focusin", (event) => point(event.target.closest("circle")));
$("keypoints").addEventListener("pointerover", (event) => {
  const name = event.target.closest("tr")?.dataset.name;
  point($("people").querySelector(`.person.chosen [data-name="${name}"]`));
});
for (const id of ["people", "keypoints"]) $(id).addEventListener("pointerleave", () => point(null));
$("people").addEventListener("focusout", () => point(null));
$("json").addEventListener("click", saveJson);
$("png").addEventListener("click", async () => save(await asPng($("people"), $("photo")), "png"));
$("svg").addEventListener("click", () => save(asSvg($("people"), $("photo"), true), "svg"));

fetch("/about").then((reply) => reply.json()).then((told) => {
  about = told;
  $("flip").checked = told.flip;
  $("about").textContent = `${told.keypoints.length} keypoints (${told.skeleton}) · ${told.engine} ·`;
}).catch(() => say("The service does not answer. Is it still running?"));
