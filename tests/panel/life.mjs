// A whole life by clicking: from an image to a Droplet, its snapshots and back; volumes; on a desktop and on a phone; by keyboard.
import assert from "node:assert/strict";
import { browse, check, serve } from "./browser.mjs";

const [program, work, shots] = process.argv.slice(2);
const server = await serve(program, work);
process.on("exit", () => server.kill());
const browser = await browse();

const page = await browser.open({ viewport: { width: 1280, height: 860 }, colorScheme: "light" });
const main = page.locator("#main");
const dialog = page.locator("dialog[open]");

async function shot(name, on = page) {
  await check(on);
  await on.screenshot({ path: `${shots}/${name}.png`, fullPage: true });
}
const go = (path) => page.goto(server.address + path);
const says = (text) => main.locator(".message").filter({ hasText: text }).first().waitFor();

// Clicks what asks in a dialog, fills it in, and sends it; the page that comes next has been loaded then.
async function ask(opener, fields, submit) {
  await opener.click();
  await dialog.waitFor();
  for (const [label, value] of Object.entries(fields)) {
    const field = dialog.getByLabel(label, { exact: true });
    if ((await field.evaluate((it) => it.tagName)) === "SELECT") await field.selectOption(value);
    else if ((await field.getAttribute("type")) === "checkbox") await field.setChecked(value);
    else await field.fill(value);
  }
  await Promise.all([page.waitForEvent("load"), dialog.getByRole("button", { name: submit }).click()]);
}
async function more(row, entry) {
  await main.locator("tr", { hasText: row }).locator("summary").click();
  return main.locator("tr", { hasText: row }).getByRole("link", { name: entry, exact: true });
}

// Signing in.
await go("/volumes?sort=name");
await page.getByLabel("API token").fill("wrong");
const wrong = await browser.open({ viewport: { width: 1280, height: 860 } }, ["401"]);
await wrong.goto(`${server.address}/sign-in`);
await wrong.getByLabel("API token").fill("wrong");
await wrong.getByRole("button", { name: "Sign in" }).click();
await wrong.getByRole("alert").waitFor();
await shot("01-sign-in-wrong", wrong);
await wrong.context().close();
await page.getByLabel("API token").fill(server.token);
await page.getByRole("button", { name: "Sign in" }).click();
await main.getByRole("heading", { name: "No volumes yet" }).waitFor();
assert.equal(new URL(page.url()).search, "?sort=name");
await shot("02-volumes-empty");

// A volume, its snapshot, a volume of that.
await main.getByRole("link", { name: "Create volume" }).first().click();
await dialog.waitFor();
await shot("03-create-volume");
await page.keyboard.press("Escape");
await dialog.waitFor({ state: "detached" });
const create = main.getByRole("link", { name: "Create volume" }).first();
await ask(create, { Name: "data", "Size in GiB": "2", Region: "here", "File system": "ext4", Tags: "db, nightly" }, "Create volume");
await says("Created.");
await main.getByRole("heading", { name: "data", exact: true }).waitFor();
await ask(main.getByRole("link", { name: "Take Snapshot" }).first(), { Name: "First <b>one</b>" }, "Take Snapshot");
await says("The snapshot was taken.");
await shot("04-volume");
await main.getByRole("link", { name: "First <b>one</b>" }).click();
await main.getByRole("heading", { name: "Map of the image" }).waitFor();
await shot("05-volume-snapshot");
await ask(main.getByRole("link", { name: "Create volume" }), { Name: "copy" }, "Create volume");
await says("Created.");
await ask(main.getByRole("link", { name: "Resize" }), { "New size in GiB": "3" }, "Resize");
await says("Resized.");
await main.getByText("3 GiB").first().waitFor();

// Lists: filter as one types, sort, what cannot be made is told.
await go("/volumes");
await page.getByLabel("Filter").fill("cop");
await main.locator("tbody tr").filter({ hasText: "data" }).waitFor({ state: "detached" });
assert.equal(await main.locator("tbody tr").count(), 1);
await page.getByLabel("Filter").fill("");
await main.locator("tbody tr").filter({ hasText: "data" }).waitFor();
await main.getByRole("link", { name: "Size", exact: true }).click();
await page.waitForURL(/sort=size/);
await main.locator("th[aria-sort=ascending]").waitFor();
await (await more("copy", "Delete")).click();
await dialog.waitFor();
await shot("06-delete-volume");
await Promise.all([page.waitForEvent("load"), dialog.getByRole("button", { name: "Delete volume" }).click()]);
await says("Deleted.");

// An image, and a Droplet of it.
await go("/images");
const about = { Name: "Debian 13", "Location": `file://${work}/import/disk.raw`, Region: "here", Distribution: "Debian" };
await ask(main.getByRole("link", { name: "Import image" }).first(), about, "Import image");
await says("Started.");
await shot("07-importing");
await main.locator("tr", { hasText: "Debian 13" }).getByText("available").waitFor({ timeout: 120_000 });
await ask(await more("Debian 13", "Create Droplet"), { Name: "web-1", Region: "here" }, "Create Droplet");
await says("Created.");
await main.getByRole("heading", { name: "web-1", exact: true }).waitFor();
const droplet = new URL(page.url()).pathname;
const settled = async () => { await main.locator("[data-action]").waitFor({ state: "detached", timeout: 60_000 }).catch(() => {}); };
await settled();
await ask(main.getByRole("link", { name: "Take Live Snapshot" }), { Name: "Before the upgrade" }, "Take Live Snapshot");
await says("Started.");
await main.getByRole("link", { name: "Before the upgrade" }).waitFor();
await shot("08-droplet");

// Attached volumes cannot be deleted.
await go("/volumes");
await ask(await more("data", "Attach to Droplet"), { Droplet: droplet.split("/").at(-1) }, "Attach to Droplet");
await says("Attached.");
await go(droplet);
await main.getByRole("link", { name: "data", exact: true }).waitFor();

// Back to the snapshot; the snapshot to another region, under another name.
await ask(await more("Before the upgrade", "Restore Droplet"), {}, "Restore Droplet");
await says("Started.");
await go("/snapshots");
await shot("09-snapshots");
await ask(await more("Before the upgrade", "Add to region"), { Region: "there" }, "Add to region");
await main.locator("tr", { hasText: "transfer" }).getByText("completed").waitFor({ timeout: 60_000 });
await shot("10-activity");
await go("/snapshots");
await main.locator("tr", { hasText: "here, there" }).waitFor();
await ask(await more("Before the upgrade", "Rename"), { Name: "Before" }, "Rename");
await says("Renamed.");
await page.getByLabel("Changed since").selectOption({ index: 1 });
await page.waitForURL(/against=/);
await main.getByText("Changed:").waitFor();
await shot("11-droplet-snapshot");
await go("/usage?span=day");
await main.getByRole("heading", { name: "Over time" }).waitFor();
await shot("12-usage");
await go("/account");
await shot("13-tokens");

// On a phone, in the dark, with the session of the desktop.
const phone = await browser.open({
  viewport: { width: 360, height: 740 }, colorScheme: "dark", hasTouch: true, isMobile: true,
  storageState: await page.context().storageState(),
});
for (const path of ["/droplets", droplet, "/volumes", "/volumes/new", "/snapshots", "/snapshots/volumes", "/backups", "/images", "/activity", "/usage", "/account"]) {
  await phone.goto(server.address + path);
  await phone.locator("#main h1").waitFor();
  await shot(`20-phone${path.replaceAll("/", "-")}`, phone);
}
await phone.goto(server.address + "/snapshots");
await phone.locator("td").getByRole("link", { name: "Before" }).click();
await phone.getByRole("heading", { name: "Map of the image" }).waitFor();
await shot("21-phone-snapshot", phone);
await phone.context().close();

// In the dark on a desktop.
const dark = await browser.open({ viewport: { width: 1280, height: 860 }, colorScheme: "dark", storageState: await page.context().storageState() });
for (const path of ["/droplets", "/usage"]) {
  await dark.goto(server.address + path);
  await shot(`22-dark${path.replaceAll("/", "-")}`, dark);
}
await dark.context().close();

// Without a script, forms are pages.
const plain = await browser.open({ javaScriptEnabled: false, viewport: { width: 1280, height: 860 }, storageState: await page.context().storageState() });
await plain.goto(server.address + "/volumes");
await plain.getByRole("link", { name: "Create volume" }).click();
await plain.getByLabel("Name", { exact: true }).fill("plain");
await plain.getByLabel("Size in GiB").fill("1");
await plain.getByRole("button", { name: "Create volume" }).click();
await plain.getByText("Created.").waitFor();
await plain.context().close();

// By keyboard alone: from the list to a deleted volume, and out.
await go("/volumes");
await page.keyboard.press("Tab");
assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to content");
await page.keyboard.press("Enter");
const focused = (text) => page.evaluate((text) => document.activeElement.getAttribute("aria-label") === text, text);
for (let presses = 0; presses < 40 && !(await focused("More: plain")); presses += 1) await page.keyboard.press("Tab");
assert.ok(await focused("More: plain"), "the menu of a row can be reached");
await page.keyboard.press("Enter");
await page.locator("details[open]").waitFor();
for (const entry of ["Take Snapshot", "Resize", "Attach to Droplet", "Delete"]) {
  await page.keyboard.press("ArrowDown");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), entry);
}
await page.keyboard.press("Enter");
await dialog.waitFor();
await page.waitForFunction(() => document.activeElement.closest("dialog"));
await Promise.all([page.waitForEvent("load"), page.keyboard.press("Enter")]);
await says("Deleted.");

// What is in use is not deleted, and that is told.
const refused = await browser.open({ viewport: { width: 1280, height: 860 }, storageState: await page.context().storageState() }, ["409"]);
await refused.goto(server.address + "/volumes");
await refused.locator("tr", { hasText: "data" }).locator("summary").click();
await refused.getByRole("link", { name: "Delete", exact: true }).click();
await refused.locator("dialog").getByRole("button", { name: "Delete volume" }).click();
await refused.getByRole("alert").filter({ hasText: "attached volume cannot be deleted" }).waitFor();
await shot("30-refused", refused);
await refused.context().close();

// What else can be done with a Droplet.
await go(droplet);
await ask(main.getByRole("link", { name: "Detach" }), {}, "Detach");
await says("Detached.");
const fact = (name) => main.locator(".facts div").filter({ has: page.locator("dt", { hasText: new RegExp(`^${name}$`) }) }).locator("dd");
for (const [verb, fields, told, name, value] of [
  ["Power off", {}, "Changed.", "Status", "off"],
  ["Resize", { Size: "s-1vcpu-1gb", "Grow the disk as well": true }, "Resized.", "Disk", "25 GiB"],
  ["Power on", {}, "Changed.", "Status", "active"],
  ["Enable backups", { "How often": "daily", From: "4" }, "Changed.", "Backups", "daily"],
  ["Disable backups", {}, "Changed.", "Backups", "off"],
  ["Rebuild", { Image: { index: 0 } }, "Started.", "Image", "Before"],
]) {
  await go(droplet);
  await main.locator(".heading summary").click();
  await ask(main.locator(".heading").getByRole("link", { name: verb, exact: true }), fields, verb);
  await says(told);
  await settled();
  await fact(name).filter({ hasText: value }).waitFor();
}
await go(droplet);
await main.locator(".heading summary").click();
await ask(main.locator(".heading").getByRole("link", { name: "Rename" }), { Name: "web-2" }, "Rename");
await main.getByRole("heading", { name: "web-2", exact: true }).waitFor();
await shot("31-droplet-changed");

// The end.
await go(droplet);
await main.locator(".heading summary").click();
await ask(main.locator(".heading").getByRole("link", { name: "Delete" }), {}, "Delete Droplet");
await says("Deleted.");
await go("/snapshots");
await ask(await more("Before", "Delete"), {}, "Delete snapshot");
await says("Deleted.");
await page.getByRole("button", { name: "Sign out" }).click();
await page.getByLabel("API token").waitFor();
await go("/droplets");
assert.equal(new URL(page.url()).pathname, "/sign-in");

await browser.close();
await server.stop();
assert.deepEqual(browser.complaints, [], "the browser has nothing to complain of");
console.log("the panel: all is well");
