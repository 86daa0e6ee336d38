// node --no-warnings wasi.mjs PROGRAM.wasm [ARG...]: runs a WASI program with this process's EVENKEEL_ variables.
import fs from "node:fs";
import { WASI } from "node:wasi";

const [file, ...args] = process.argv.slice(2);
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => /^(EVENKEEL|EK)_/.test(name)));
const wasi = new WASI({ version: "preview1", args: [file, ...args], env, returnOnExit: true });
const module = await WebAssembly.compile(fs.readFileSync(file));
const instance = await WebAssembly.instantiate(module, wasi.getImportObject());
process.exit(wasi.start(instance));
