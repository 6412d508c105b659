import type { FileId, FileRecord } from "@moiety/queue";

/** Where a file's contents lie in the store: its own, and others' that came too late. */
export const fileFolder = (id: FileId): string => `files/${id}`;

/** The place of what was uploaded: an upload has one writer. */
export const UPLOADED = "content";

export const contentName = (id: FileId, place: string): string => `${fileFolder(id)}/${place}`;

/** What clients may upload, in OpenAI's names. Only `batch` is of use to this server; the others are kept for whoever reads them again. */
export const UPLOAD_PURPOSES = ["batch", "assistants", "fine-tune", "vision", "user_data", "evals"] as const;

/** A file as the API shows it. */
export function describeFile(file: FileRecord): object {
  return {
    id: file.id,
    object: "file",
    bytes: file.bytes,
    created_at: Math.floor(file.createdAtMs / 1_000),
    ...(file.expiresAtMs === undefined ? {} : { expires_at: Math.floor(file.expiresAtMs / 1_000) }),
    filename: file.name,
    purpose: file.purpose,
    status: "processed",
    status_details: null,
  };
}
