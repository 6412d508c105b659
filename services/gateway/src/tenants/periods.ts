/** The day and the month of a time, as budgets and sums name them: in UTC. */
export function periodsOf(atMs: number): { readonly day: string; readonly month: string } {
  const day = new Date(atMs).toISOString().slice(0, 10);
  return { day, month: day.slice(0, 7) };
}

/** Until the day or the month is over. */
export function msUntilNext(period: "day" | "month", nowMs: number): number {
  const now = new Date(nowMs);
  const [year, month, day] = [now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate()];
  return (period === "day" ? Date.UTC(year, month, day + 1) : Date.UTC(year, month + 1, 1)) - nowMs;
}
