'use strict';
// The theme. A classic script in the head, so that it holds before anything is painted.
(() => {
  const THEMES = ['system', 'light', 'dark'];
  let theme = 'system';
  try {
    const kept = localStorage.getItem('palisade-theme');
    if (THEMES.includes(kept)) theme = kept;
  } catch {
    // Storage may be forbidden; the theme is then not remembered.
  }
  const showTheme = () => {
    document.documentElement.dataset.theme = theme;
    const label = document.getElementById('theme-text');
    if (label) label.textContent = `Theme: ${theme}`;
  };
  const nextTheme = () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    try {
      localStorage.setItem('palisade-theme', theme);
    } catch {
      // As above.
    }
    showTheme();
  };
  showTheme();
  document.addEventListener('DOMContentLoaded', () => {
    showTheme();
    document.getElementById('theme').addEventListener('click', nextTheme);
  });
})();
