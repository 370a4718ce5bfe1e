// Laurel's interface, with the types that its OpenAPI document gives every route.

import { randomUUID } from "node:crypto";
import createClient, { type Client, type Middleware } from "openapi-fetch";
import type { components, paths } from "./schema.js";

export type Problem = components["schemas"]["Problem"];
export type Laurel = Client<paths>;

/** What the interface refused, with its stable code. */
export class Refused extends Error {
  constructor(readonly problem: Problem) {
    super(`${problem.code}: ${problem.detail}`);
  }
}

/** How often a request is sent again that may not have arrived, and how soon. */
const TRIES = 5;
const AGAIN_AFTER_MS = 200;

/** A client that carries `token`, and gives whatever makes something a key of its own, so that sending it again makes it once. */
export function laurel(api: string, token: string): Laurel {
  const client = createClient<paths>({ baseUrl: api, fetch: sendAgain });
  const carry: Middleware = {
    onRequest({ request }) {
      request.headers.set("authorization", `Bearer ${token}`);
      if (request.method === "POST" && !request.headers.has("idempotency-key")) {
        request.headers.set("idempotency-key", randomUUID());
      }
      return request;
    },
  };
  client.use(carry);
  return client;
}

/** Sends a request again, with the same key, where nobody answered, or the interface asked for it. */
async function sendAgain(request: Request): Promise<Response> {
  for (let left = TRIES; ; left -= 1) {
    const answer = await fetch(request.clone()).catch((error: unknown) => error as Error);
    const again = answer instanceof Error || answer.status === 503 || answer.status === 429;
    if (!again || left === 1) {
      if (answer instanceof Error) throw answer;
      return answer;
    }
    await new Promise((resolve) => setTimeout(resolve, AGAIN_AFTER_MS));
  }
}

/** The answer, or what was refused. */
export async function got<T>(asked: Promise<{ data?: T; error?: Problem }>): Promise<T> {
  const { data, error } = await asked;
  if (error !== undefined) throw new Refused(error);
  return data as T;
}

/** Asks until the answer is as it should be, and gives up after `within` milliseconds. */
export async function until<T>(ask: () => Promise<T>, is: (answer: T) => boolean, within: number): Promise<T> {
  const end = Date.now() + within;
  for (;;) {
    const answer = await ask();
    if (is(answer)) return answer;
    if (Date.now() > end) throw new Error(`not in time; the last answer was ${JSON.stringify(answer)}`);
    await new Promise((resolve) => setTimeout(resolve, AGAIN_AFTER_MS));
  }
}
