import { type Checkpoint, openCheckpoint } from "@moiety/model";
import type { Activation, AttentionEngine, Batch, ExpertEngine, ExpertRowsPart, Kernels, SequenceRows } from "../src/types.js";

/** Where a sequence's KV lies: page of block i is `pages[i]` in the full pool and `ring[i % ring.length]` in the sliding one. */
export interface Layout {
  readonly pages: readonly number[];
  readonly ring: readonly number[];
}

export interface Chunk {
  readonly layout: Layout;
  readonly positionStart: number;
  readonly tokens: readonly number[];
}

export interface LocalModelOptions {
  readonly kernels: Kernels;
  readonly directory: string;
  readonly activation: Activation;
  readonly pageTokens: number;
  readonly pages: number;
  /** Expert calls per layer: experts are dealt out to as many shards. */
  readonly shards?: number;
}

/** A whole model in this process, for tests: attention engine, expert engine and the exchange between them. */
export class LocalModel {
  readonly attention: AttentionEngine;
  readonly experts: ExpertEngine;
  readonly checkpoint: Checkpoint;
  readonly #options: LocalModelOptions;

  private constructor(options: LocalModelOptions, checkpoint: Checkpoint, attention: AttentionEngine, experts: ExpertEngine) {
    this.#options = options;
    this.checkpoint = checkpoint;
    this.attention = attention;
    this.experts = experts;
  }

  static async open(options: LocalModelOptions): Promise<LocalModel> {
    const { kernels, activation, pageTokens, pages } = options;
    const checkpoint = await openCheckpoint(options.directory);
    const { config } = checkpoint;
    const refs = checkpoint.attentionRefs();
    const kv = { pageTokens, fullPages: pages, slidingPages: pages };
    const attention = await kernels.createAttentionEngine({ config, refs, activation, kv });
    const experts = kernels.createExpertEngine({ config, activation });
    const loads: Promise<void>[] = [];
    for (let layer = 0; layer < config.layers; layer++) {
      for (let expert = 0; expert < config.experts; expert++) loads.push(experts.load(checkpoint.expertRefs(layer, expert)));
    }
    await Promise.all(loads);
    return new LocalModel(options, checkpoint, attention, experts);
  }

  /** All layers for the chunks, as one batch; `afterLayer` sees the batch after each. */
  async forward(chunks: readonly Chunk[], afterLayer?: (batch: Batch, layer: number) => void): Promise<Batch> {
    const batch = this.attention.createBatch({
      tokens: Int32Array.from(chunks.flatMap((chunk) => chunk.tokens)),
      sequences: this.#sequences(chunks),
    });
    for (let layer = 0; layer < this.checkpoint.config.layers; layer++) {
      await this.attention.attend(batch, layer);
      await this.attention.combine(batch, await this.#runExperts(batch, layer));
      afterLayer?.(batch, layer);
    }
    return batch;
  }

  #sequences(chunks: readonly Chunk[]): SequenceRows[] {
    const { pageTokens } = this.#options;
    const { slidingWindow } = this.checkpoint.config;
    let rowStart = 0;
    return chunks.map(({ layout, positionStart, tokens }) => {
      const blocks = Math.ceil((positionStart + tokens.length) / pageTokens);
      const first = Math.floor(Math.max(0, positionStart - slidingWindow + 1) / pageTokens);
      const slidingPages = Array.from({ length: blocks - first }, (_, i) => layout.ring[(first + i) % layout.ring.length] ?? -1);
      const rows: SequenceRows = {
        rowStart,
        rowCount: tokens.length,
        positionStart,
        fullPages: Int32Array.from(layout.pages.slice(0, blocks)),
        slidingPages: Int32Array.from(slidingPages),
        slidingFirstBlock: first,
      };
      rowStart += tokens.length;
      return rows;
    });
  }

  async #runExperts(batch: Batch, layer: number): Promise<ExpertRowsPart[]> {
    const { expertsPerToken } = this.checkpoint.config;
    const shards = this.#options.shards ?? 1;
    const rowBytes = batch.normed.length / batch.rows;
    const calls = Array.from({ length: shards }, async (_, shard): Promise<ExpertRowsPart> => {
      const slots = Uint32Array.from(batch.expertIds.keys()).filter((slot) => (batch.expertIds[slot] ?? 0) % shards === shard);
      const rows = new Uint8Array(slots.length * rowBytes);
      const pairs = {
        input: new Uint16Array(slots.length),
        row: slots.map((slot) => Math.floor(slot / expertsPerToken)),
        expert: Uint16Array.from(slots, (slot) => batch.expertIds[slot] ?? 0),
      };
      await this.experts.run({ layer, inputs: [batch.normed], pairs, outputs: [rows] });
      return { rows, slots };
    });
    return Promise.all(calls);
  }
}
