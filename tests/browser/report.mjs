// Opens a report in Chromium, in light and in dark, with the keyboard alone, and tells what it saw as one JSON document on stdout.
// Arguments: the page, the directory of playwright-core, Chromium, a directory for screenshots and the profile.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import path from 'node:path';

const [page_path, playwright, chromium_path, out] = process.argv.slice(2);
const { chromium } = createRequire(path.resolve(playwright, 'x.js'))('playwright-core');

const context = await chromium.launchPersistentContext(path.join(out, 'profile'), {
  executablePath: chromium_path,
  headless: true,
  viewport: { width: 1280, height: 900 },
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync',
  ],
});
const seen = { requests: [], errors: [], themes: {} };
try {
  const page = await context.newPage();
  page.on('request', request => seen.requests.push(request.url()));
  page.on('console', message => seen.errors.push(`${message.type()}: ${message.text()}`));
  page.on('pageerror', error => seen.errors.push(String(error)));
  page.on('dialog', dialog => { seen.errors.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  const url = pathToFileURL(page_path).href;
  for (const scheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme: scheme });
    await page.goto(url);
    await page.screenshot({ path: path.join(out, `${scheme}.png`), fullPage: true });
    seen.themes[scheme] = await page.evaluate(contrasts);
  }
  seen.url = url;
  seen.title = await page.title();
  seen.wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  await page.setViewportSize({ width: 400, height: 800 });
  seen.narrow = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  await page.screenshot({ path: path.join(out, 'narrow.png') });
  await page.setViewportSize({ width: 1280, height: 900 });
  seen.unnamed = await page.evaluate(unnamed);
  seen.scripts = await page.evaluate(() => document.scripts.length);
  seen.keyboard = await keyboard(page, url);
} finally {
  await context.close();
}
console.log(JSON.stringify(seen));

// The least contrast of text against what is behind it, by WCAG 2, of all elements that hold text themselves.
function contrasts() {
  const parse = color => (color.match(/[\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = element => {
    if (element.tagName === 'text') {
      const box = element.parentElement.querySelector('rect');
      if (box) return parse(getComputedStyle(box).fill);
    }
    for (let at = element; at; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  let least = { ratio: 99 };
  for (const element of document.body.querySelectorAll('*')) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    if (!own || element.closest('.skip') || ['style', 'title'].includes(element.tagName.toLowerCase())) continue;
    const style = getComputedStyle(element);
    const a = light(parse(element instanceof SVGElement ? style.fill : style.color));
    const b = light(behind(element));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < least.ratio) least = { ratio, text: element.textContent.trim().slice(0, 40), tag: element.tagName };
  }
  return { least, background: getComputedStyle(document.body).backgroundColor };
}

// What can be reached and has no name for those who cannot see it.
function unnamed() {
  const named = element => element.textContent.trim() || element.getAttribute('aria-label') || element.labels?.[0]?.textContent.trim();
  return [...document.querySelectorAll('a, summary, input, [tabindex="0"]')].filter(element => !named(element)).map(e => e.outerHTML.slice(0, 100));
}

async function keyboard(page, url) {
  const active = () => page.evaluate(() => {
    const element = document.activeElement;
    return { tag: element.tagName.toLowerCase(), text: (element.textContent ?? '').trim().slice(0, 60), id: element.id,
      outline: getComputedStyle(element).outlineStyle };
  });
  await page.goto(url);
  await page.keyboard.press('Tab');
  const first = await active();
  // To the graph, then to its first node and, by Enter, to that node's details, which are closed.
  await page.keyboard.press('Enter');
  let link;
  for (let i = 0; i < 50; i++) {
    await page.keyboard.press('Tab');
    link = await active();
    if (link.tag === 'a') break;
  }
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => location.hash.startsWith('#node-'));
  const opened = await page.evaluate(() => {
    const body = document.querySelector(location.hash);
    return { hash: location.hash, open: body.closest('details').open, visible: body.checkVisibility() };
  });
  // The filter, by its arrow keys.
  const count = () => page.evaluate(() => [...document.querySelectorAll('details.node')].filter(node => node.checkVisibility()).length);
  await page.focus('#show-all');
  const all = await count();
  await page.keyboard.press('ArrowDown');
  const bad = await count();
  // A node, by Enter on its line.
  await page.keyboard.press('ArrowUp');
  const toggles = await page.evaluate(() => document.querySelector('details.node:not([open]) > summary') !== null);
  if (toggles) await page.focus('details.node:not([open]) > summary');
  const before = await page.evaluate(() => document.querySelectorAll('details.node[open]').length);
  if (toggles) await page.keyboard.press('Enter');
  const after = await page.evaluate(() => document.querySelectorAll('details.node[open]').length);
  return { first, link, opened, all, bad, before, after };
}
