// node curve.mjs PACKAGE FOLDER: prints the curve of the step in FOLDER as JSON.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import process from "node:process";

import { Training } from "../../examples/browser/training.js";
import { curve } from "./curve.js";

const [name, folder] = process.argv.slice(2);
const ort = createRequire(new URL("../../examples/browser/package.json", import.meta.url))(name);
if (ort.env.wasm) ort.env.wasm.numThreads = 1; // so small a model waits for threads more than they help
console.log(JSON.stringify(await curve(ort, Training, (file) => readFile(path.join(folder, file)))));
