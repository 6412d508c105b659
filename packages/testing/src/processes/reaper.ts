import { type ChildProcess, spawn } from "node:child_process";

/**
 * Kills what is left when the test runner itself is gone, even by SIGKILL: a shell that reads pids and, at the end of its input,
 * ends them. Its input ends when the runner does.
 */
const SCRIPT = `
pids=
while read -r op pid; do
  case $op in
    +) pids="$pids $pid" ;;
    -) kept=; for p in $pids; do [ "$p" = "$pid" ] || kept="$kept $p"; done; pids=$kept ;;
  esac
done
for p in $pids; do kill -CONT "$p" 2>/dev/null; kill -KILL "$p" 2>/dev/null; done
`;

let reaper: ChildProcess | undefined;

function tell(line: string): void {
  if (reaper === undefined) {
    reaper = spawn("/bin/sh", ["-c", SCRIPT], { stdio: ["pipe", "ignore", "ignore"], detached: true });
    reaper.unref();
    reaper.stdin?.on("error", () => {});
    if (reaper.stdin !== null && "unref" in reaper.stdin) (reaper.stdin as unknown as { unref(): void }).unref();
  }
  reaper.stdin?.write(`${line}\n`);
}

/** From now on the process dies with this one. */
export function watch(pid: number): void {
  tell(`+ ${pid}`);
}

/** The process has ended: its number may be another's soon. */
export function unwatch(pid: number): void {
  tell(`- ${pid}`);
}
