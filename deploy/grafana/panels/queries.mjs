export const RATE = "[$__rate_interval]";
/** Per second; of all, or by labels. */
export const rate = (metric, by) => `sum${by === undefined ? "" : ` by (${by})`} (rate(${metric}${RATE}))`;
const quantile = (share, metric) => `histogram_quantile(${share}, sum by (le) (rate(${metric}_bucket${RATE})))`;
export const quantiles = (metric) => ({
  median: quantile(0.5, metric),
  "95 %": quantile(0.95, metric),
  "99 %": quantile(0.99, metric),
});
/** Mean of what a histogram has observed. */
export const mean = (metric, by) => `${rate(`${metric}_sum`, by)} / ${rate(`${metric}_count`, by)}`;
