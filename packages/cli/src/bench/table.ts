/** Lines of cells under a header: the first column to the left, numbers to the right. */
export function formatTable(header: readonly string[], lines: readonly (readonly string[])[]): string {
  const widths = header.map((title, column) => Math.max(title.length, ...lines.map((line) => line[column]?.length ?? 0)));
  const row = (cells: readonly string[]) =>
    cells
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join("  ");
  return [row(header), ...lines.map(row)].map((line) => line.trimEnd()).join("\n");
}

export const percent = (share: number): string => `${(share * 100).toFixed(0)}%`;

/** A number with three digits that count, or all digits before the point. */
export function short(value: number): string {
  if (!Number.isFinite(value)) return "-";
  const magnitude = Math.abs(value);
  return value.toFixed(magnitude >= 100 ? 0 : magnitude >= 10 ? 1 : 2);
}
