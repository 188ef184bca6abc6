// A server and a browser for the tests of the panel.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

// Starts the program, and returns where it serves, a token, and what stops it.
export async function serve(program, work) {
  const config = ["--config", `${work}/server.toml`];
  const token = execFileSync(program, ["--quiet", "token", "create", "panel", ...config], { encoding: "utf8" }).trim();
  const server = spawn(program, ["serve", ...config], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise((done) => server.on("exit", done));
  for await (const line of createInterface({ input: server.stdout })) {
    const at = line.match(/ at (http:\S+)/);
    if (at) return { address: at[1], token, kill: () => server.kill("SIGKILL"), stop: async () => { server.kill("SIGTERM"); assert.equal(await ended, 0); } };
  }
  throw new Error("the server has ended");
}

// Opens a browser; what it complains of is collected.
export async function browse() {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-dev-shm-usage"],
  });
  const complaints = [];
  async function open(options, expected = []) {
    const context = await browser.newContext({ locale: "en-GB", timezoneId: "UTC", ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(20_000);
    page.on("console", (message) => {
      const text = message.text();
      if (["error", "warning"].includes(message.type()) && !expected.some((part) => text.includes(part))) {
        complaints.push(`${page.url()}: ${text}`);
      }
    });
    page.on("pageerror", (error) => complaints.push(`${page.url()}: ${error}`));
    page.on("requestfailed", (request) => {
      // A list of events ends when one leaves the page, and a filter when one types on.
      if (request.failure()?.errorText !== "net::ERR_ABORTED") complaints.push(`${request.url()}: ${request.failure()?.errorText}`);
    });
    return page;
  }
  return { open, complaints, close: () => browser.close() };
}

// Checks that nothing is wider than the screen, each input has a label, and each id is there once.
export async function check(page) {
  const found = await page.evaluate(() => {
    const problems = [];
    const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
    if (wide > 0) problems.push(`${wide} pixels wider than the screen`);
    for (const field of document.querySelectorAll("input:not([type=hidden]), select")) {
      if (!field.labels?.length) problems.push(`no label: ${field.name}`);
    }
    const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
    const twice = ids.filter((id, at) => ids.indexOf(id) !== at);
    if (twice.length) problems.push(`ids that are there twice: ${twice}`);
    if (document.querySelectorAll("main h1").length !== 1) problems.push("not one h1");
    return problems;
  });
  assert.deepEqual(found, [], page.url());
}
