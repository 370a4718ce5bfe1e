// A campaign from the idea to its books, by the client. Takes the interface's address, and tokens of a manager and of a game server:
//
//   LAUREL_API=http://127.0.0.1:8080 LAUREL_MANAGER=… LAUREL_GAME_SERVER=… LAUREL_TOKEN=0x… LAUREL_CHAIN=31337 \
//     LAUREL_PLAYER=player-00000 npm run campaign

import { randomUUID } from "node:crypto";
import { Refused, got, laurel, until } from "./client.js";

/** How long anything on the chain may take. */
const ON_CHAIN_MS = 60_000;

function from(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set`);
  return value;
}

const api = from("LAUREL_API");
const manager = laurel(api, from("LAUREL_MANAGER"));
const game = laurel(api, from("LAUREL_GAME_SERVER"));

const made = await got(
  manager.POST("/v1/campaigns", {
    params: { header: { "idempotency-key": randomUUID() } },
    body: {
      name: "By the client",
      chain_id: Number(from("LAUREL_CHAIN")),
      token: from("LAUREL_TOKEN"),
      games: ["quiz"],
      rule: "outcome.score >= 80",
      reward: { kind: "per_unit", field: "score", amount: "10", cap: "1000" },
      caps: { grants_per_player_per_day: 3 },
      wallet_deadline_hours: 72,
    },
  }),
);
const path = { campaign_id: made.id };

const tried = await got(
  manager.POST("/v1/campaigns/{campaign_id}/rule/try", { params: { path }, body: { outcome: { score: 95 } } }),
);
if (tried.amount !== "950") throw new Error(`the rule would pay ${tried.amount}`);

// Without money it does not begin, and the refusal has a code.
try {
  await got(manager.POST("/v1/campaigns/{campaign_id}/activate", { params: { path }, body: {} }));
  throw new Error("it began without money");
} catch (error) {
  if (!(error instanceof Refused) || error.problem.code !== "unfunded") throw error;
}

await got(
  manager.POST("/v1/campaigns/{campaign_id}/fund", {
    params: { path, header: { "idempotency-key": randomUUID() } },
    body: { cap: "100000" },
  }),
);
const statistics = () => got(manager.GET("/v1/campaigns/{campaign_id}/statistics", { params: { path } }));
await until(statistics, (of) => of.funded === "100000", ON_CHAIN_MS);
await got(manager.POST("/v1/campaigns/{campaign_id}/activate", { params: { path }, body: {} }));

const outcome_id = `client-${randomUUID()}`;
const taken = await got(
  game.POST("/v1/outcomes", {
    body: {
      outcomes: [
        { outcome_id, game: "quiz", player_id: from("LAUREL_PLAYER"), score: 90, occurred_at: new Date().toISOString() },
      ],
    },
  }),
);
if (taken.accepted !== 1) throw new Error(`not accepted: ${JSON.stringify(taken)}`);
await until(statistics, (of) => of.paid === "900", ON_CHAIN_MS);

const ended = await got(
  manager.POST("/v1/campaigns/{campaign_id}/end", { params: { path }, body: { reason: "all was seen" } }),
);
const closing = await got(manager.POST("/v1/campaigns/{campaign_id}/close", { params: { path }, body: {} }));
console.log(JSON.stringify({ campaign: made.id, outcome: outcome_id, ended: ended.state, closing: closing.state, books: await statistics() }));
