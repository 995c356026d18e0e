// Every text that is seen, with the contrast (WCAG 2.2, 1.4.3) of its colour to what is painted beneath it. The window
// must be as high as the page. Returns how many were looked at, and those that are too faint.
const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
const known = new Map();
const rgba = (colour) => {
  if (!known.has(colour)) {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    known.set(colour, [r, g, b, a / 255]);
  }
  return known.get(colour);
};
const over = ([r, g, b, a], under) => [r, g, b].map((channel, i) => channel * a + under[i] * (1 - a));
const luminance = (colour) => {
  const [r, g, b] = colour.map((it) => it / 255).map((it) => (it <= 0.04045 ? it / 12.92 : ((it + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const contrast = (a, b) => {
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
};
const paint = (element) => {
  const style = getComputedStyle(element);
  const fills = element instanceof SVGGeometryElement && !style.fill.startsWith('url') && style.fill !== 'none';
  const [r, g, b, a] = rgba(fills ? style.fill : style.backgroundColor);
  return [r, g, b, a * Number(style.opacity)];
};
const ancestors = (element) => (element ? [element, ...ancestors(element.parentElement)] : []);
const beneath = (element, x, y) => {
  const stack = document.elementsFromPoint(x, y);
  const from = stack.indexOf(element);
  // Scrolled out of its region, a text is painted on its ancestors.
  const painted = from < 0 ? ancestors(element) : stack.slice(from);
  return painted.map(paint).reverse().reduce((under, colour) => over(colour, under), [255, 255, 255]);
};

const faint = [];
let looked = 0;
const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  const text = walk.currentNode;
  const element = text.parentElement;
  if (!text.data.trim() || element.closest('.unseen, .skip, template, noscript, script')) continue;
  const range = document.createRange();
  range.selectNodeContents(text);
  const boxes = [...range.getClientRects()].filter((box) => box.width > 1 && box.height > 1);
  if (!boxes.length || !element.checkVisibility({ visibilityProperty: true })) continue;
  const style = getComputedStyle(element);
  const dimmed = ancestors(element).some((it) => Number(getComputedStyle(it).opacity) < 1);
  const colour = rgba(element instanceof SVGElement ? style.fill : style.color);
  const size = Number.parseFloat(style.fontSize);
  const needed = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
  looked += 1;
  const points = boxes.flatMap((box) => [0.02, 0.5, 0.98].map((part) => [box.left + box.width * part, (box.top + box.bottom) / 2]));
  const lowest = Math.min(...points.map(([x, y]) => {
    const under = beneath(element, x, y);
    return contrast(over(colour, under), under);
  }));
  if (dimmed || lowest < needed) faint.push(`${lowest.toFixed(2)} of ${needed}${dimmed ? ', dimmed' : ''}: ${text.data.trim().slice(0, 60)}`);
}
return { looked, faint };
