// The loop of the page without the page: node train.mjs onnxruntime-node|onnxruntime-web FOLDER [STEPS]
// Prints the losses as JSON. FOLDER is what `python serve.py --export FOLDER` writes.
import { readFile } from "node:fs/promises";
import path from "node:path";
import process from "node:process";

import { Digits, Training } from "./training.js";

const [name, folder, steps = "50"] = process.argv.slice(2);
const ort = await import(name);
if (ort.env.wasm) ort.env.wasm.numThreads = 1; // so small a model waits for threads more than they help
const file = (base) => readFile(path.join(folder, base));

const { learningRate, batchSize } = JSON.parse(await file("config.json"));
const training = await Training.load(ort, await file("step.onnx"), await file("step.init.onnx"));
const digits = new Digits(ort, await file("pixels.bin"), await file("labels.bin"));
const rate = new ort.Tensor("float32", Float32Array.of(learningRate), []);

let seed = 1;
const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647; // Park and Miller's generator, to repeat runs
const losses = [];
for (let i = 0; i < Number(steps); i++) {
  const { loss } = await training.step({ ...digits.batch(batchSize, random), learning_rate: rate });
  losses.push(loss);
}
console.log(JSON.stringify(losses));
