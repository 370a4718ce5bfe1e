#!/usr/bin/env node
// Writes artifacts/*.json from forge's output (run `forge build` first); with --check, compares instead and exits 1 on a
// difference. Only what a client needs, so that a comment or a tool's version never changes them.
import { readFileSync, writeFileSync } from "node:fs";

const root = new URL("..", import.meta.url);
// The last one is for the simulator: a token that refuses recipients.
const contracts = ["RewardVault", "RewardToken", "FussyToken"];
const check = process.argv.includes("--check");
let stale = false;

for (const name of contracts) {
  const built = JSON.parse(readFileSync(new URL(`out/${name}.sol/${name}.json`, root), "utf8"));
  const artifact = {
    abi: built.abi,
    bytecode: { object: built.bytecode.object },
    deployedBytecode: { object: built.deployedBytecode.object },
  };
  const text = JSON.stringify(artifact, null, 2) + "\n";
  const file = new URL(`artifacts/${name}.json`, root);
  if (!check) {
    writeFileSync(file, text);
  } else if (readFileSync(file, "utf8") !== text) {
    stale = true;
    process.stderr.write(`artifacts/${name}.json is not what the sources compile to: run tools/artifacts.mjs\n`);
  }
}
process.exitCode = stale ? 1 : 0;
