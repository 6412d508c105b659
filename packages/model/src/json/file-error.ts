import { AppError, type ErrorCode } from "@moiety/core";

const CODE_BY_ERRNO: Readonly<Record<string, ErrorCode>> = {
  ENOENT: "NOT_FOUND",
  ENOTDIR: "NOT_FOUND",
  EACCES: "PERMISSION_DENIED",
  EPERM: "PERMISSION_DENIED",
  EEXIST: "ALREADY_EXISTS",
  EISDIR: "INVALID_ARGUMENT",
  ENOSPC: "RESOURCE_EXHAUSTED",
  EMFILE: "RESOURCE_EXHAUSTED",
};

/** What the file system threw, as an AppError that names the path. */
export function fromFileError(thrown: unknown, path: string): AppError {
  if (thrown instanceof AppError) return thrown;
  const errno = thrown instanceof Error && "code" in thrown ? String(thrown.code) : undefined;
  const code = (errno === undefined ? undefined : CODE_BY_ERRNO[errno]) ?? "UNAVAILABLE";
  const what = code === "NOT_FOUND" ? "does not exist" : `cannot be used (${errno ?? String(thrown)})`;
  return new AppError(code, `${path} ${what}`, { details: { path, errno }, cause: thrown });
}
