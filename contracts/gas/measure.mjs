#!/usr/bin/env node
// Gas per grant on the receipts of a real Anvil, next to the limits; exits 1 when one is broken.
// Needs `forge build` before. Starts and stops its own Anvil on a free port; --json prints the figures for machines.
import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

const root = new URL("..", import.meta.url).pathname;
const native = (tool) => execFileSync(`${root}tools/native`, [tool], { encoding: "utf8" }).trim();
const castBinary = native("cast");

// Gas per grant at 500 new recipients, and for sending such a batch again.
const LIMITS = { anyToken: 25_700, batchToken: 24_750, replay: 1_200 };
const BATCH = 500;
// EIP-7825: what one transaction may use.
const TX_GAS = 16_777_216;
const START_TIMEOUT_MS = 20_000;

const anvil = await startAnvil();
try {
  const rows = await measure(anvil.rpc);
  process.stdout.write(process.argv.includes("--json") ? JSON.stringify(rows, null, 2) + "\n" : table(rows));
  const broken = rows.filter((row) => row.limit !== undefined && row.perGrant > row.limit);
  for (const row of broken) process.stderr.write(`limit broken: ${row.what}, ${row.token}: ${row.perGrant} > ${row.limit}\n`);
  process.exitCode = broken.length === 0 ? 0 : 1;
} finally {
  await anvil.stop();
}

async function measure(rpc) {
  const [owner, operator] = await rpc("eth_accounts");
  const send = async (from, to, data, gas = TX_GAS) => {
    const receipt = await rpc("eth_sendTransactionSync", [{ from, to, data, gas: hex(gas) }]);
    if (receipt.status !== "0x1") throw new Error(`transaction ${receipt.transactionHash} reverted`);
    return receipt;
  };
  const deploy = async (name, file, ...args) => {
    const { abi, bytecode } = JSON.parse(readFileSync(`${root}out/${file}.sol/${name}.json`, "utf8"));
    const types = (abi.find((item) => item.type === "constructor")?.inputs ?? []).map((input) => input.type);
    const encoded = types.length === 0 ? "" : cast("abi-encode", `f(${types})`, ...args).slice(2);
    return (await send(owner, undefined, bytecode.object + encoded)).contractAddress;
  };

  const rows = [];
  const guardian = "0x0000000000000000000000000000000000000000";
  const vault = await deploy("RewardVault", "RewardVault", owner, guardian);
  await send(owner, vault, cast("calldata", "setOperator(address,bool)", operator, "true"));
  const tokens = [
    { name: "Solady", address: await deploy("SoladyToken", "ReferenceTokens"), batch: false, limit: LIMITS.anyToken },
    { name: "OpenZeppelin", address: await deploy("OpenZeppelinToken", "ReferenceTokens"), batch: false },
    {
      name: "RewardToken",
      address: await deploy("RewardToken", "RewardToken", "Reward", "RWD", owner),
      batch: true,
      limit: LIMITS.batchToken,
    },
  ];

  let campaign = 0;
  const cap = 10n ** 27n;
  const settle = async (segments) => {
    const { timestamp } = await rpc("eth_getBlockByNumber", ["latest", false]);
    const words = segments.map((s) => `(${s.campaign},${s.firstSeq},[${s.grants.map(hex32)}])`);
    const seal = `0x${createHash("sha256").update("seal").digest("hex")}`;
    const signature = "settle(uint64,(uint64,uint64,uint256[])[],bytes32)";
    const data = cast("calldata", signature, String(Number(timestamp) + 600), `[${words}]`, seal);
    return Number((await send(operator, vault, data)).gasUsed);
  };

  for (const token of tokens) {
    const open = async () => {
      campaign += 1;
      await send(owner, token.address, cast("calldata", "mint(address,uint256)", vault, String(cap)));
      const terms = `(${token.address},${token.batch},100000,${cap},${cap / 10n},86400)`;
      const signature = "open(uint64,(address,bool,uint32,uint96,uint96,uint32))";
      await send(owner, vault, cast("calldata", signature, String(campaign), terms));
      // The first settlement turns the campaign's and the window's zeros into figures: not a batch's usual cost.
      await settle([{ campaign, firstSeq: 0, grants: grants(`warm-up ${campaign}`, 1) }]);
      return campaign;
    };
    const row = (what, n, gas, limit) => rows.push({ what, token: token.name, n, gas, perGrant: Math.round(gas / n), limit });

    for (const n of [1, 10, 100]) {
      row("new holders", n, await settle([{ campaign: await open(), firstSeq: 256, grants: grants(`new ${n} ${token.name}`, n) }]));
    }
    const main = await open();
    const batch = { campaign: main, firstSeq: 256, grants: grants(`new ${BATCH} ${token.name}`, BATCH) };
    row("new holders", BATCH, await settle([batch]), token.limit);
    row("replay", BATCH, await settle([batch]), LIMITS.replay);
    row("existing holders", BATCH, await settle([{ ...batch, firstSeq: 1024 }]));
    for (const parts of [5, 10]) {
      const segments = [];
      for (let i = 0; i < parts; i += 1) {
        segments.push({ campaign: await open(), firstSeq: 256, grants: grants(`${parts} ${i} ${token.name}`, BATCH / parts) });
      }
      row(`new holders, ${parts} campaigns`, BATCH, await settle(segments));
    }
    if (token.name === "Solady") {
      const data = cast("calldata", "cancel(uint64,uint64,uint256)", String(main), "9", hex32(0xffn));
      row("cancel, per call", 1, Number((await send(operator, vault, data)).gasUsed));
    }
  }
  return rows;
}

// Distinct addresses without a leading zero byte, amounts of 1 to 10 tokens in hundredths, with 18 decimals: ordinary
// calldata. Amounts to the last decimal have two zero bytes less.
function grants(label, n, step = 10n ** 16n) {
  return Array.from({ length: n }, (_, i) => {
    const digest = createHash("sha256").update(`${label} ${i}`).digest("hex");
    const recipient = BigInt(`0x${digest.slice(0, 40)}`) | (1n << 159n);
    const amount = 10n ** 18n + (BigInt(`0x${digest.slice(40)}`) % (9n * 10n ** 18n / step)) * step;
    return (recipient << 96n) | amount;
  });
}

function table(rows) {
  const cells = rows.map((row) => [
    row.what,
    row.token,
    String(row.n),
    row.gas.toLocaleString("en-US"),
    row.perGrant.toLocaleString("en-US"),
    row.limit === undefined ? "" : `${row.perGrant > row.limit ? "OVER" : "<="} ${row.limit.toLocaleString("en-US")}`,
  ]);
  const all = [["what", "token", "grants", "gas", "gas per grant", "limit"], ...cells];
  const widths = all[0].map((_, column) => Math.max(...all.map((line) => line[column].length)));
  const line = (values) => `| ${values.map((value, i) => (i < 2 ? value.padEnd(widths[i]) : value.padStart(widths[i]))).join(" | ")} |`;
  const rule = `|${widths.map((width, i) => (i < 2 ? "-".repeat(width + 2) : `${"-".repeat(width + 1)}:`)).join("|")}|`;
  return [line(all[0]), rule, ...cells.map(line)].join("\n") + "\n";
}

async function startAnvil() {
  const child = spawn(native("anvil"), ["--port", "0", "--enable-tx-gas-limit"], { stdio: ["ignore", "pipe", "inherit"] });
  const exited = new Promise((resolve) => child.once("exit", resolve));
  const stop = async () => {
    child.kill("SIGKILL");
    await exited;
  };
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => stop().then(() => process.exit(1)));
  const port = await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("Anvil did not start")), START_TIMEOUT_MS);
    let output = "";
    child.once("error", reject);
    child.once("exit", () => reject(new Error(`Anvil ended: ${output}`)));
    child.stdout.on("data", (chunk) => {
      output += chunk;
      const match = /Listening on 127\.0\.0\.1:(\d+)/.exec(output);
      if (match === null) return;
      clearTimeout(timer);
      resolve(match[1]);
    });
  }).catch(async (error) => {
    child.kill("SIGKILL");
    throw error;
  });
  let id = 0;
  const rpc = async (method, params = []) => {
    const body = JSON.stringify({ jsonrpc: "2.0", id: (id += 1), method, params });
    const response = await fetch(`http://127.0.0.1:${port}`, { method: "POST", headers: { "content-type": "application/json" }, body });
    const { result, error } = await response.json();
    if (error !== undefined) throw new Error(`${method}: ${error.message}`);
    return result;
  };
  return { rpc, stop };
}

function cast(...args) {
  return execFileSync(castBinary, args, { encoding: "utf8" }).trim();
}

function hex(value) {
  return `0x${value.toString(16)}`;
}

function hex32(value) {
  return `0x${value.toString(16).padStart(64, "0")}`;
}
