import type { WriteStream } from "node:tty";

export interface ProgressBar {
  show(done: number, total: number): void;
  clear(): void;
}

/** One line that is drawn again as bytes are written; draws nothing when the stream is no terminal. */
export function progressBar(stream: WriteStream | NodeJS.WriteStream): ProgressBar {
  if (!stream.isTTY) return { show: () => undefined, clear: () => undefined };
  let shown = -1;
  return {
    show(done, total) {
      const percent = Math.floor((100 * done) / Math.max(1, total));
      if (percent === shown) return;
      shown = percent;
      const filled = Math.round(percent / 4);
      stream.write(`\r${"#".repeat(filled)}${"-".repeat(25 - filled)} ${percent}% of ${(total / 1e6).toFixed(0)} MB`);
    },
    clear: () => stream.write("\r\u001b[K"),
  };
}
