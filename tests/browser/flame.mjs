// Opens a flame graph in Chromium, zooms, searches, and tells what it saw as one JSON document on stdout.
// Arguments: the picture, the directory of playwright-core, Chromium, a directory for screenshots and the profile.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import path from 'node:path';

const [picture, playwright, chromium_path, out] = process.argv.slice(2);
const { chromium } = createRequire(path.resolve(playwright, 'x.js'))('playwright-core');

const context = await chromium.launchPersistentContext(path.join(out, 'flame-profile'), {
  executablePath: chromium_path,
  headless: true,
  viewport: { width: 1280, height: 700 },
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync',
  ],
});
const seen = { requests: [], errors: [] };
try {
  const page = await context.newPage();
  page.on('request', request => seen.requests.push(request.url()));
  page.on('console', message => seen.errors.push(`${message.type()}: ${message.text()}`));
  page.on('pageerror', error => seen.errors.push(String(error)));
  // The only dialog is the one that asks what to search for.
  page.on('dialog', dialog => dialog.accept('READER.READ'));
  seen.url = pathToFileURL(picture).href;
  for (const scheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme: scheme });
    await page.goto(seen.url);
    await page.screenshot({ path: path.join(out, `flame-${scheme}.png`) });
  }
  const state = () => page.evaluate(() => {
    const all = [...document.querySelectorAll('g.frame')];
    const shown = all.filter(frame => frame.style.display !== 'none');
    const width = frame => +frame.querySelector('rect').getAttribute('width');
    return {
      frames: all.length, shown: shown.length, hits: document.querySelectorAll('g.hit').length,
      full: shown.filter(frame => width(frame) === 1180).length,
      found: document.querySelector('.found').textContent,
      reset: document.querySelector('.reset').style.display,
      overflowing: shown.filter(frame => frame.querySelector('text').getComputedTextLength() > width(frame)).length,
    };
  });
  seen.first = await state();
  await page.click('.search');
  seen.searched = await state();
  const wanted = page.locator('g.frame.hit').first();
  await wanted.focus();
  await page.keyboard.press('Enter');
  seen.zoomed = await state();
  seen.wide = await wanted.evaluate(frame => +frame.querySelector('rect').getAttribute('width'));
  await page.screenshot({ path: path.join(out, 'flame-zoomed.png') });
  await page.keyboard.press('Escape');
  seen.last = await state();
} finally {
  await context.close();
}
console.log(JSON.stringify(seen));
