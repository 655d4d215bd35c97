// Finds people in images and camera frames in the browser, and draws them.

const $ = (id) => document.getElementById(`try-${id}`);
const MIN_KEYPOINT_SCORE = 0.2; // keypoints below it are not drawn
const CAMERA_SIDE = 640; // pixels of the longer side of a camera frame
const colors = ["#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#42d4f4", "#f032e6"];
const canvas = $("canvas");
const context = canvas.getContext("2d", { willReadFrequently: true });
let ort, session, skeleton, camera;
let computing = Promise.resolve(); // a session computes one image at a time

async function load() {
  try {
    ort = await import(new URL("try/ort.wasm.min.mjs", import.meta.url));
    skeleton = await (await fetch(new URL("try/skeleton.json", import.meta.url))).json();
  } catch {
    $("status").textContent =
      "This copy of the documentation was built without ONNX Runtime Web, which this page needs. " +
      "Run npm ci --ignore-scripts in tests/javascript, and build it again.";
    return;
  }
  const model = new URL("try/people.onnx", import.meta.url).href;
  session = await ort.InferenceSession.create(model);
  for (const control of ["file", "example", "camera"]) $(control).disabled = false;
  $("status").textContent = "Open an image, or use your camera.";
}

function findPeople(source, width, height) {
  const compute = () => computePeople(source, width, height);
  return (computing = computing.then(compute, compute));
}

async function computePeople(source, width, height) {
  [canvas.width, canvas.height] = [width, height];
  context.drawImage(source, 0, 0, width, height);
  const rgba = context.getImageData(0, 0, width, height).data;
  const rgb = new Uint8Array(3 * width * height);
  for (let pixel = 0; pixel < width * height; pixel++) {
    rgb.set(rgba.subarray(4 * pixel, 4 * pixel + 3), 3 * pixel);
  }
  const image = new ort.Tensor("uint8", rgb, [height, width, 3]);
  const start = performance.now();
  const { keypoints, scores } = await session.run({ image });
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  for (let person = 0; person < scores.dims[0]; person++) draw(keypoints, person);
  const people = scores.dims[0] === 1 ? "1 person" : `${scores.dims[0]} people`;
  $("status").textContent = `${people}, ${seconds} s`;
}

function draw({ data, dims }, person) {
  const at = (k) => data.subarray(3 * (person * dims[1] + k), 3 * (person * dims[1] + k) + 3);
  const size = Math.max(2, Math.max(canvas.width, canvas.height) / 250);
  context.strokeStyle = context.fillStyle = colors[person % colors.length];
  context.lineWidth = size;
  for (const [a, b] of skeleton.limbs) {
    if (Math.min(at(a)[2], at(b)[2]) < MIN_KEYPOINT_SCORE) continue;
    context.beginPath();
    context.moveTo(at(a)[0] + 0.5, at(a)[1] + 0.5); // a canvas counts from the edge of a pixel
    context.lineTo(at(b)[0] + 0.5, at(b)[1] + 0.5);
    context.stroke();
  }
  for (let k = 0; k < dims[1]; k++) {
    if (at(k)[2] < MIN_KEYPOINT_SCORE) continue;
    context.beginPath();
    context.arc(at(k)[0] + 0.5, at(k)[1] + 0.5, 1.4 * size, 0, 2 * Math.PI);
    context.fill();
  }
}

async function openImage(blob) {
  stopCamera();
  try {
    const bitmap = await createImageBitmap(blob);
    $("status").textContent = "Computing …";
    await new Promise((resolve) => setTimeout(resolve, 50)); // shows the text
    await findPeople(bitmap, bitmap.width, bitmap.height);
  } catch (error) {
    $("status").textContent = `The image cannot be used: ${error.message}`;
  }
}

async function startCamera() {
  try {
    camera = await navigator.mediaDevices.getUserMedia({ video: true });
  } catch (error) {
    $("status").textContent = `The camera cannot be used: ${error.message}`;
    return;
  }
  $("camera").textContent = "Stop";
  const video = document.createElement("video");
  video.srcObject = camera;
  await video.play();
  while (camera) {
    const factor = Math.min(1, CAMERA_SIDE / Math.max(video.videoWidth, video.videoHeight));
    const sides = [video.videoWidth, video.videoHeight].map((side) => Math.round(side * factor));
    await findPeople(video, ...sides);
    await new Promise(requestAnimationFrame);
  }
}

function stopCamera() {
  camera?.getTracks().forEach((track) => track.stop());
  camera = null;
  $("camera").textContent = "Camera";
}

$("file").addEventListener("change", (event) => {
  if (event.target.files[0]) openImage(event.target.files[0]);
});
$("example").addEventListener("click", async () => {
  const response = await fetch(new URL("try/example.png", import.meta.url));
  openImage(await response.blob());
});
$("camera").addEventListener("click", () => (camera ? stopCamera() : startCamera()));
load();
