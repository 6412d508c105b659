/** The candidate that a misspelt word means: at most two edits away, fewer than half of its letters; undefined if none is. */
export function closest<Word extends string>(word: string, candidates: readonly Word[]): Word | undefined {
  const lower = word.toLowerCase();
  return candidates.find((candidate) => editDistance(lower, candidate) <= Math.min(2, Math.floor((candidate.length - 1) / 2)));
}

/** The only candidate that begins with a word of at least three letters; undefined if none or several do. */
export function abbreviated<Word extends string>(word: string, candidates: readonly Word[]): Word | undefined {
  const [found, ...others] = candidates.filter((candidate) => candidate.startsWith(word.toLowerCase()));
  return word.length >= 3 && others.length === 0 ? found : undefined;
}

/** Levenshtein's distance: insertions, deletions and substitutions, each of one UTF-16 unit. */
function editDistance(left: string, right: string): number {
  let row = Array.from({ length: right.length + 1 }, (_, column) => column);
  for (let i = 1; i <= left.length; i++) {
    const next = [i];
    for (let j = 1; j <= right.length; j++) {
      const substituted = (row[j - 1] ?? 0) + (left[i - 1] === right[j - 1] ? 0 : 1);
      next.push(Math.min(substituted, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[right.length] ?? 0;
}
