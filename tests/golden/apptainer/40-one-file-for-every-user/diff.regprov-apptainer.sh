+ sh stub
