/** Entries of the outbox, as tests write and read them. */

import type { Batch } from "../../lib/event.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Entries with these texts, numbered from 1. */
export function entriesOf(...texts: string[]): Batch {
  return texts.map((text, n) => ({ seq: n + 1, body: encoder.encode(text) }));
}

/** The entries' texts. */
export function textsOf(batch: Batch): string[] {
  return batch.map(({ body }) => decoder.decode(body));
}
