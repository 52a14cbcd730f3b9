~ sh stub
