/** What came of an attempt to get the lease. */
export type TakeOutcome =
  /** This router leads, under this term. */
  | { readonly kind: "taken"; readonly term: number }
  | { readonly kind: "held"; readonly term: number; readonly holder: string; readonly remainingMs: number }
  /** Nobody holds it, but the last leader may only have been cut off: it was not taken. */
  | { readonly kind: "lapsed"; readonly term: number };

/** Whether the lease is still this router's; `lost`: another router has led under the greater term `term`. */
export type RenewOutcome =
  | { readonly kind: "renewed" }
  | { readonly kind: "lost"; readonly term: number; readonly holder: string };

export interface TakeRequest {
  /** The greatest term that is known here: the new one is greater, whatever Redis has forgotten. */
  readonly knownTerm: number;
  /** Whether one that ran out is taken. One that was given back always is, and the very first. */
  readonly evenIfLapsed: boolean;
}

/** Decides which of several routers leads. Every call may fail, and may have had its effect nevertheless: all bear repeating. */
export interface Lease {
  take(request: TakeRequest): Promise<TakeOutcome>;
  renew(term: number): Promise<RenewOutcome>;
  /** Lets another router take it at once. */
  giveBack(term: number): Promise<void>;
  close(): void;
}
