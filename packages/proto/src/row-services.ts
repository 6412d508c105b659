import {
  type CallOptions,
  type ChannelCredentials,
  type Client,
  type ClientOptions,
  type ClientReadableStream,
  type Metadata,
  makeGenericClientConstructor,
  type ServerWritableStream,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import {
  AttentionServiceService,
  type DispatchRows,
  ExpertServiceService,
  type ResultRows,
  type Subscribe,
} from "./generated/moiety/v1/expert.js";
import {
  decodeDispatch,
  decodeResult,
  encodeDispatch,
  encodeResult,
  type OutgoingDispatch,
  type OutgoingResult,
} from "./row-codec.js";

/** The generated ExpertService with the hand-written codec for its rows: the same bytes on the wire, one copy a side. */
export const expertRowService = {
  pull: { ...ExpertServiceService.pull, responseSerialize: encodeResult, responseDeserialize: decodeResult },
} as const;

/**
 * The generated AttentionService with the hand-written codec for its rows. Of a serialised message grpc-js uses `byteLength` and
 * `copy` alone, at once: rows that lie elsewhere are gathered by the copy that it makes anyway.
 */
export const attentionRowService = {
  pull: {
    ...AttentionServiceService.pull,
    responseSerialize: (message: OutgoingDispatch) => encodeDispatch(message) as unknown as Buffer,
    responseDeserialize: decodeDispatch,
  },
} as const;

/** A subscriber's stream on the side that serves it. */
export type ResultStream = ServerWritableStream<Subscribe, OutgoingResult>;
export type DispatchStream = ServerWritableStream<Subscribe, OutgoingDispatch>;

export interface ExpertRowServer extends UntypedServiceImplementation {
  pull(stream: ResultStream): void;
}

export interface AttentionRowServer extends UntypedServiceImplementation {
  pull(stream: DispatchStream): void;
}

/** A subscriber's end. */
export interface RowClient<Rows> extends Client {
  pull(request: Subscribe, metadata?: Metadata, options?: Partial<CallOptions>): ClientReadableStream<Rows>;
}

type RowClientConstructor<Rows> = new (
  address: string,
  credentials: ChannelCredentials,
  options?: Partial<ClientOptions>,
) => RowClient<Rows>;

/** Pulls results; opened by attention workers. Its `bytes` fields are views of the received message. */
export const ExpertRowClient = makeGenericClientConstructor(
  expertRowService,
  "moiety.v1.ExpertService",
) as unknown as RowClientConstructor<ResultRows>;

/** Pulls calls; opened by expert workers. Its `bytes` fields are views of the received message. */
export const AttentionRowClient = makeGenericClientConstructor(
  attentionRowService,
  "moiety.v1.AttentionService",
) as unknown as RowClientConstructor<DispatchRows>;
