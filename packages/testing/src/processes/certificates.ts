import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";

/** Whether certificates can be made here; says so when not. */
export function hasOpenssl(): boolean {
  const isThere = spawnSync("openssl", ["version"]).status === 0;
  if (!isThere) console.log("skipped: there is no openssl to make certificates with");
  return isThere;
}

const FRESH = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

function openssl(...words: string[]): void {
  execFileSync("openssl", words, { stdio: "pipe" });
}

/** Makes a folder with a CA of its own (`ca.crt`) and a certificate of it (`tls.crt`, `tls.key`), valid for seven days or as many as are given. */
export function makeCertificates(folder: string, subjectAltName = "IP:127.0.0.1", days = 7): string {
  mkdirSync(folder);
  const subject = `/CN=${basename(folder)}`;
  const [key, cert] = [join(folder, "ca.key"), join(folder, "ca.crt")];
  openssl("req", "-x509", ...FRESH, "-days", String(days + 2), "-subj", subject, "-keyout", key, "-out", cert);
  issueCertificate(folder, days, subjectAltName);
  return folder;
}

/** Puts another certificate of the folder's CA in the place of the one that is there. */
export function issueCertificate(folder: string, days: number, subjectAltName = "IP:127.0.0.1"): void {
  const file = (base: string) => join(folder, base);
  openssl("req", ...FRESH, "-subj", "/CN=moiety", "-keyout", file("tls.key"), "-out", file("tls.csr"));
  writeFileSync(file("san"), `subjectAltName=${subjectAltName}`);
  const ca = ["-CA", file("ca.crt"), "-CAkey", file("ca.key"), "-CAcreateserial"];
  const signed = [...ca, "-days", String(days), "-extfile", file("san")];
  openssl("x509", "-req", "-in", file("tls.csr"), ...signed, "-out", file("tls.crt"));
}
