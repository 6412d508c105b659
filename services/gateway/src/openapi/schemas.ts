import { z } from "zod";
import { keyRequestSchema } from "../admin/key-routes.js";
import { tenantRequestSchema } from "../admin/tenant-routes.js";
import { batchRequestSchema } from "../batches/batch-routes.js";
import { chatRequestSchema } from "../openai/chat-request.js";
import { completionRequestSchema } from "../openai/completion-request.js";
import { detokenizeRequestSchema, tokenizeChatSchema, tokenizeTextSchema } from "../openai/tokenize.js";
import { sharedFields } from "../responses/response-chat.js";
import { responseRequestSchema } from "../responses/response-request.js";
import {
  chatAnswer,
  chatChunk,
  completionAnswer,
  completionChunk,
  detokenizeAnswer,
  errorAnswer,
  healthAnswer,
  loadAnswer,
  modelAnswer,
  modelsAnswer,
  readyAnswer,
  tokenizeAnswer,
} from "./answers.js";
import { batchAnswer, batchesAnswer, fileAnswer, fileDeletedAnswer, filesAnswer } from "./file-answers.js";
import { keyAnswer, keyDeletedAnswer, keysAnswer, shownKeyAnswer } from "./key-answers.js";
import { inputItemsAnswer, responseAnswer, responseDeletedAnswer, responseEvent } from "./response-answers.js";
import { tenantAnswer, tenantDeletedAnswer, tenantsAnswer, usageAnswer } from "./tenant-answers.js";

/** Bodies of requests, by the names that the document has for them. */
export const REQUESTS = {
  ChatRequest: chatRequestSchema,
  CompletionRequest: completionRequestSchema,
  ResponseRequest: z.object({ ...sharedFields, ...responseRequestSchema.shape }),
  BatchRequest: batchRequestSchema,
  KeyRequest: keyRequestSchema,
  TenantRequest: tenantRequestSchema,
  TokenizeTextRequest: tokenizeTextSchema,
  TokenizeChatRequest: tokenizeChatSchema,
  DetokenizeRequest: detokenizeRequestSchema,
} satisfies Readonly<Record<string, z.ZodType>>;

export const ANSWERS = {
  Error: errorAnswer,
  ChatCompletion: chatAnswer,
  ChatCompletionChunk: chatChunk,
  Completion: completionAnswer,
  CompletionChunk: completionChunk,
  Response: responseAnswer,
  ResponseEvent: responseEvent,
  ResponseDeleted: responseDeletedAnswer,
  InputItems: inputItemsAnswer,
  File: fileAnswer,
  Files: filesAnswer,
  FileDeleted: fileDeletedAnswer,
  Batch: batchAnswer,
  Batches: batchesAnswer,
  Key: keyAnswer,
  ShownKey: shownKeyAnswer,
  Keys: keysAnswer,
  KeyDeleted: keyDeletedAnswer,
  Tenant: tenantAnswer,
  Tenants: tenantsAnswer,
  TenantDeleted: tenantDeletedAnswer,
  Usage: usageAnswer,
  Model: modelAnswer,
  Models: modelsAnswer,
  Tokenized: tokenizeAnswer,
  Detokenized: detokenizeAnswer,
  Load: loadAnswer,
  Health: healthAnswer,
  Ready: readyAnswer,
} satisfies Readonly<Record<string, z.ZodType>>;
