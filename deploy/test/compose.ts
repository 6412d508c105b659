import { parse } from "yaml";
import { z } from "zod";
import { readText } from "./repository.js";

const volumeSchema = z.union([
  z.string(),
  z.object({ type: z.literal("bind"), source: z.string(), target: z.string(), read_only: z.boolean() }),
]);

const serviceSchema = z.object({
  image: z.string(),
  build: z.object({ context: z.literal(".."), dockerfile: z.string(), target: z.string() }).optional(),
  pull_policy: z.string().optional(),
  environment: z.record(z.string(), z.string()).default({}),
  command: z.array(z.string()).default([]),
  healthcheck: z.object({ test: z.array(z.string()) }),
  volumes: z.array(volumeSchema).default([]),
  networks: z.array(z.string()),
  ports: z.array(z.string()).default([]),
  read_only: z.boolean().default(false),
  user: z.string().optional(),
  tmpfs: z.array(z.string()).default([]),
  cap_drop: z.array(z.string()).default([]),
  security_opt: z.array(z.string()).default([]),
  stop_grace_period: z.string().optional(),
  depends_on: z.record(z.string(), z.unknown()).default({}),
});

const composeSchema = z.object({
  services: z.record(z.string(), serviceSchema),
  networks: z.record(z.string(), z.object({ internal: z.boolean().default(false) })),
  volumes: z.record(z.string(), z.object({})),
});

/** A service of the compose file. */
export type ComposeService = z.output<typeof serviceSchema>;

/** The target of the Dockerfile that a service is an image of; undefined: the image is of others. */
export function targetOf({ image }: ComposeService): string | undefined {
  return image.match(/^moiety-([\w-]+):dev$/)?.[1];
}

/** Puts variables, or else their defaults, into a text as Compose does; a default may have a variable in it. */
export function interpolate(text: string, variables: Readonly<Record<string, string>> = {}): string {
  const inner = /\$\{(\w+)(?::-([^${}]*))?\}/g;
  const replaced = text.replaceAll(inner, (_, name: string, fallback?: string) => variables[name] || fallback || "");
  return replaced === text ? text : interpolate(replaced, variables);
}

/** deploy/compose.yaml as it is with none of its variables set. */
export function readCompose(): z.output<typeof composeSchema> {
  const reviver = (_: unknown, value: unknown) => (typeof value === "string" ? interpolate(value) : value);
  return composeSchema.parse(parse(readText("deploy/compose.yaml"), reviver, { merge: true }));
}
