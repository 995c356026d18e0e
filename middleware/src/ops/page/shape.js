// Shapes in SVG, and where a moment stands in them.

import { SPAN, latest } from './live.js';

export const shape = (name, className) => {
  const node = document.createElementNS('http://www.w3.org/2000/svg', name);
  if (className) node.setAttribute('class', className);
  return node;
};

export const x = (uptime, width) => (width * (1 - (latest().uptime - uptime) / SPAN)).toFixed(1);
