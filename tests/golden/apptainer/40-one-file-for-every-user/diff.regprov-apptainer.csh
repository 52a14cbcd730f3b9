+ csh stub
