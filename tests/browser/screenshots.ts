/// <reference lib="dom" />
/** Makes the pictures of the dashboard that the README shows, from the scene that the tests are made of. */

import { openDashboard } from "./dashboard.ts";

const FOLDER = new URL("../screenshots/", import.meta.url);

await Deno.mkdir(FOLDER, { recursive: true });
await using dashboard = await openDashboard();
for (const colorScheme of ["light", "dark"] as const) {
  const page = await dashboard.logIn({ colorScheme, viewport: { width: 1060, height: 1010 } });
  const lane = page.locator(".lane canvas").first();
  await lane.focus();
  await page.keyboard.press("Home");
  for (let i = 0; i < 40; i++) await page.keyboard.press("ArrowRight");
  await page.evaluate(() => {
    (document.activeElement as HTMLElement).blur();
    scrollTo(0, 0);
  });
  const file = new URL(`dashboard-${colorScheme}.png`, FOLDER);
  const png = await page.screenshot();
  await Deno.writeFile(file, png);
  console.log(`${file.pathname}: ${(png.length / 1000).toFixed(0)} kB`);
  await page.context().close();
}
