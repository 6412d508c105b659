import type { Redis } from "ioredis";

/** A part of a list, in the order of creation or against it. */
export interface PageQuery {
  /** Id of the item before the page; absent: from the beginning. */
  readonly after?: string;
  readonly limit: number;
  readonly order: "asc" | "desc";
}

export interface Page<T> {
  readonly items: readonly T[];
  readonly hasMore: boolean;
}

/** Ids of a sorted set after `after`. Undefined when `after` is not in the list. */
export async function pageOfIds(redis: Redis, key: string, query: PageQuery): Promise<Page<string> | undefined> {
  const { after, limit, order } = query;
  const descending = order === "desc";
  let start = 0;
  if (after !== undefined) {
    const rank = descending ? await redis.zrevrank(key, after) : await redis.zrank(key, after);
    if (rank === null) return undefined;
    start = rank + 1;
  }
  const ids = descending ? await redis.zrevrange(key, start, start + limit) : await redis.zrange(key, start, start + limit);
  return { items: ids.slice(0, limit), hasMore: ids.length > limit };
}
