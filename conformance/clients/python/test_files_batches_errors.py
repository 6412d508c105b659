import json
import os
import time
import unittest

import openai

from subject import QUESTION, client, model, only

URL = "/v1/chat/completions"


class Files(unittest.TestCase):
    def test_create_retrieve_content_delete(self):
        created = client.files.create(file=("notes ü.txt", "grüße\n".encode()), purpose="user_data")
        self.assertEqual((created.bytes, created.filename), (8, "notes ü.txt"))
        self.assertEqual(client.files.retrieve(created.id), created)
        self.assertEqual(client.files.content(created.id).read(), "grüße\n".encode())
        self.assertEqual(client.files.wait_for_processing(created.id).status, "processed")
        self.assertTrue(client.files.delete(created.id).deleted)
        with self.assertRaises(openai.NotFoundError):
            client.files.retrieve(created.id)

    def test_list(self):
        ids = [client.files.create(file=(name, b"x"), purpose="vision").id for name in ("1", "2", "3")]
        found = [file.id for file in client.files.list(purpose="vision", limit=2)]
        self.assertEqual(found[:3], ids[::-1])


class Batches(unittest.TestCase):
    def begin(self, bodies):
        lines = [{"custom_id": f"r{n}", "method": "POST", "url": URL, "body": body} for n, body in enumerate(bodies)]
        text = "\n".join(json.dumps(line) for line in lines)
        file = client.files.create(file=("requests.jsonl", text.encode()), purpose="batch")
        return client.batches.create(input_file_id=file.id, endpoint=URL, completion_window="24h")

    def ended(self, batch_id):
        while True:
            batch = client.batches.retrieve(batch_id)
            if batch.status in ("failed", "completed", "expired", "cancelled"):
                return batch
            time.sleep(0.1)

    def lines(self, file_id):
        if file_id is None:
            return []
        return [json.loads(line) for line in client.files.content(file_id).text.splitlines()]

    def test_create_poll_download(self):
        body = {"model": model(), "messages": [{"role": "user", "content": QUESTION}], "temperature": 0}
        batch = self.ended(self.begin([body, {**body, "n": 0}]).id)
        self.assertEqual((batch.status, batch.request_counts.completed, batch.request_counts.failed), ("completed", 1, 1))
        answer = only(self.lines(batch.output_file_id))
        live = client.chat.completions.create(**body)
        self.assertEqual(
            answer["response"]["body"]["choices"][0]["message"]["content"], only(live.choices).message.content
        )
        self.assertEqual(only(self.lines(batch.error_file_id))["response"]["status_code"], 400)
        with self.assertRaises(openai.ConflictError):
            client.batches.cancel(batch.id)
        self.assertIn(batch.id, [each.id for each in client.batches.list(limit=2)])

    def test_cancel(self):
        body = {"model": model(), "messages": [{"role": "user", "content": QUESTION}], "reasoning_effort": "high"}
        batch = self.begin([body] * 30)
        client.batches.cancel(batch.id)
        batch = self.ended(batch.id)
        self.assertEqual(batch.status, "cancelled")
        self.assertEqual(len(self.lines(batch.output_file_id)) + len(self.lines(batch.error_file_id)), batch.request_counts.total)


class Errors(unittest.TestCase):
    messages = [{"role": "user", "content": QUESTION}]

    def test_bad_request(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            client.chat.completions.create(model=model(), messages=self.messages, temperature=3)
        self.assertEqual((caught.exception.param, caught.exception.type), ("temperature", "invalid_request_error"))
        self.assertEqual(caught.exception.request_id, caught.exception.response.headers["x-request-id"])
        with self.assertRaises(openai.BadRequestError) as caught:
            client.chat.completions.create(model=model(), messages=self.messages, max_completion_tokens=10_000_000)
        self.assertEqual(caught.exception.code, "context_length_exceeded")

    def test_not_found(self):
        with self.assertRaises(openai.NotFoundError) as caught:
            client.chat.completions.create(model="other", messages=self.messages)
        self.assertEqual(caught.exception.code, "model_not_found")
        with self.assertRaises(openai.NotFoundError):
            client.models.retrieve("other")
        self.assertEqual(client.models.retrieve(model()).id, model())

    @unittest.skipIf(os.environ.get("OPENAI_API_KEY") == "none", "the API needs no key")
    def test_authentication(self):
        with self.assertRaises(openai.AuthenticationError):
            client.with_options(api_key="another").models.list()

    def test_unsupported_endpoints(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            client.embeddings.create(model=model(), input="a")
        self.assertEqual(caught.exception.code, "unsupported_endpoint")

    def test_connection_and_timeout(self):
        with self.assertRaises(openai.APITimeoutError):
            hurried = client.with_options(timeout=0.001, max_retries=0)
            hurried.chat.completions.create(model=model(), messages=self.messages)
        with self.assertRaises(openai.APIConnectionError):
            client.with_options(base_url="http://127.0.0.1:9/v1", max_retries=0).models.list()


class Headers(unittest.TestCase):
    fields = {"messages": Errors.messages, "max_completion_tokens": 4}

    def test_request_id(self):
        answers = [
            client.chat.completions.create(model=model(), **self.fields),
            client.completions.create(model=model(), prompt="a", max_tokens=2),
            client.responses.create(model=model(), input="a", max_output_tokens=16),
        ]
        self.assertEqual(len({answer._request_id for answer in answers} - {None}), 3)

    def test_raw_and_streaming_response(self):
        raw = client.chat.completions.with_raw_response.create(model=model(), **self.fields)
        self.assertGreaterEqual(int(raw.headers["openai-processing-ms"]), 0)
        self.assertEqual(raw.headers["x-request-id"], raw.parse()._request_id)
        streaming = client.chat.completions.with_streaming_response
        with streaming.create(model=model(), **self.fields) as response:
            self.assertEqual(response.status_code, 200)
            self.assertIn("chat.completion", "".join(response.iter_text()))

    def test_own_request_id(self):
        own = client.chat.completions.create(model=model(), **self.fields, extra_headers={"X-Request-Id": "conformance-1"})
        self.assertEqual(own._request_id, "conformance-1")
