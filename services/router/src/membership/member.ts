import type { WorkerId } from "@moiety/core";

export interface WorkerProfile {
  readonly id: WorkerId;
  /** Fresh at every start of the worker's process. */
  readonly incarnation: string;
  readonly kind: "attention" | "expert";
  /** host:port or unix:path of its data-plane server. */
  readonly address: string;
  readonly capacitySlots: number;
}

/** What a worker last said of itself. */
export interface MemberReport {
  readonly readyEpoch: number;
  readonly queuedCalls: number;
  readonly runningCalls: number;
  readonly residentBytes: number;
  /** Empty when it could load all that its placement asks. */
  readonly fault: string;
}

interface Present {
  readonly profile: WorkerProfile;
  readonly joinedAtMs: number;
  readonly lastSeenMs: number;
}

interface Reporting extends Present {
  readonly report: MemberReport;
  /** Once reported, a fault counts until the process is started anew: else its experts would come and go for ever. */
  readonly faulty: boolean;
}

/**
 * | state    | meaning                                    | leaves when                                                              |
 * |----------|--------------------------------------------|--------------------------------------------------------------------------|
 * | joining  | its Hello was accepted                     | first status: live or draining; silence or end of stream: lost            |
 * | live     | reports regularly                          | says so: draining; silence or end of stream: lost                         |
 * | draining | wants its experts moved away               | end of stream: forgotten; silence: lost                                   |
 * | lost     | its experts wait for its return            | a new Hello: joining; the grace ends: forgotten                           |
 */
export type Member =
  | ({ readonly kind: "joining" } & Present)
  | ({ readonly kind: "live" } & Reporting)
  | ({ readonly kind: "draining" } & Reporting)
  | { readonly kind: "lost"; readonly profile: WorkerProfile; readonly sinceMs: number };

export type MemberEvent =
  | { readonly kind: "reported"; readonly nowMs: number; readonly report: MemberReport; readonly draining: boolean }
  | { readonly kind: "stream-ended"; readonly nowMs: number }
  | { readonly kind: "time-passed"; readonly nowMs: number };

export interface MemberLimits {
  readonly heartbeatTimeoutMs: number;
  readonly rejoinGraceMs: number;
}

/** A worker that just said Hello. */
export function joiningMember(profile: WorkerProfile, nowMs: number): Member {
  return { kind: "joining", profile, joinedAtMs: nowMs, lastSeenMs: nowMs };
}

/** The member after an event; absent when it is forgotten. */
export function transition(member: Member, event: MemberEvent, limits: MemberLimits): Member | undefined {
  switch (event.kind) {
    case "reported":
      return member.kind === "lost" ? member : reported(member, event);
    case "stream-ended":
      if (member.kind === "draining") return undefined;
      return member.kind === "lost" ? member : { kind: "lost", profile: member.profile, sinceMs: event.nowMs };
    case "time-passed":
      return timePassed(member, event.nowMs, limits);
  }
}

function reported(member: Exclude<Member, { kind: "lost" }>, event: Extract<MemberEvent, { kind: "reported" }>): Member {
  const faultyBefore = member.kind !== "joining" && member.faulty;
  return {
    kind: event.draining ? "draining" : "live",
    profile: member.profile,
    joinedAtMs: member.joinedAtMs,
    lastSeenMs: event.nowMs,
    report: event.report,
    faulty: faultyBefore || event.report.fault !== "",
  };
}

function timePassed(member: Member, nowMs: number, limits: MemberLimits): Member | undefined {
  if (member.kind === "lost") return nowMs - member.sinceMs >= limits.rejoinGraceMs ? undefined : member;
  if (nowMs - member.lastSeenMs <= limits.heartbeatTimeoutMs) return member;
  return { kind: "lost", profile: member.profile, sinceMs: nowMs };
}

/** Whether the member's stream is up. */
export function isPresent(member: Member): member is Exclude<Member, { kind: "lost" }> {
  return member.kind !== "lost";
}

/** The newest placement whose experts the member holds now; 0 when none. */
export function readyEpochOf(member: Member | undefined): number {
  if (member === undefined || member.kind === "lost" || member.kind === "joining") return 0;
  return member.report.fault === "" ? member.report.readyEpoch : 0;
}
